//! Arithmetic and sequences.

use herald_value::{CallError, Value, num};

use super::decimal::{self, Decimal};
use super::help::{Result, fail, ints, printed, text, to_float, to_int};
use super::random;
use super::strings::int_value;
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("atoi", &[Str], |c| Ok(int_value(atoi(&c.text(0))))),
    Function::new("int64", &[Any], |c| Ok(Value::int64(to_int(c.arg(0))))),
    Function::new("int", &[Any], |c| Ok(int_value(to_int(c.arg(0))))),
    Function::new("float64", &[Any], |c| Ok(Value::Float(to_float(c.arg(0))))),
    Function::new("toDecimal", &[Any], |c| {
        let text = printed(c.arg(0));
        let text = String::from_utf8_lossy(&text);
        Ok(Value::int64(num::parse_int(&text, 8, 64).unwrap_or(0)))
    }),
    Function::new("seq", &[], seq).variadic(Int),
    Function::new("until", &[Int], |c| {
        let count = c.int(0);
        until(c, 0, count, if count < 0 { -1 } else { 1 })
    }),
    Function::new("untilStep", &[Int, Int, Int], |c| {
        let (start, stop, step) = (c.int(0), c.int(1), c.int(2));
        until(c, start, stop, step)
    }),
    Function::new("add1", &[Any], |c| Ok(Value::int64(to_int(c.arg(0)).wrapping_add(1)))),
    Function::new("add", &[], |c| fold(c, Some(0), i64::wrapping_add)).variadic(Any),
    Function::new("sub", &[Any, Any], |c| fold(c, None, i64::wrapping_sub)),
    Function::new("mul", &[Any], |c| fold(c, None, i64::wrapping_mul)).variadic(Any),
    Function::new("div", &[Any, Any], |c| {
        nonzero(c)?;
        fold(c, None, i64::wrapping_div)
    }),
    Function::new("mod", &[Any, Any], |c| {
        nonzero(c)?;
        fold(c, None, i64::wrapping_rem)
    }),
    Function::new("max", &[Any], |c| fold(c, None, i64::max)).variadic(Any),
    Function::new("biggest", &[Any], |c| fold(c, None, i64::max)).variadic(Any),
    Function::new("min", &[Any], |c| fold(c, None, i64::min)).variadic(Any),
    Function::new("maxf", &[Any], |c| Ok(fold_float(c, max_float))).variadic(Any),
    Function::new("minf", &[Any], |c| Ok(fold_float(c, |a, b| -max_float(-a, -b)))).variadic(Any),
    Function::new("add1f", &[Any], |c| {
        let first = Decimal::of(to_float(c.arg(0)))?;
        Ok(Value::Float(decimal::add(&first, &Decimal::of(1.0)?, c.meter)?.to_float()))
    }),
    Function::new("addf", &[], |c| decimals(c, true, decimal::add)).variadic(Any),
    Function::new("subf", &[Any], |c| decimals(c, false, decimal::sub)).variadic(Any),
    Function::new("mulf", &[Any], |c| decimals(c, false, decimal::mul)).variadic(Any),
    Function::new("divf", &[Any], |c| decimals(c, false, decimal::div)).variadic(Any),
    Function::new("floor", &[Any], |c| Ok(Value::Float(to_float(c.arg(0)).floor()))),
    Function::new("ceil", &[Any], |c| Ok(Value::Float(to_float(c.arg(0)).ceil()))),
    Function::new("round", &[Any, Int], round).variadic(Float),
    Function::new("randInt", &[Int, Int], |c| {
        let (low, high) = (c.int(0), c.int(1));
        match high.wrapping_sub(low) {
            size if size > 0 => Ok(int_value(random::below(size as u64)?.wrapping_add_signed(low) as i64)),
            _ => fail("invalid argument to Intn"),
        }
    }),
];

/// Go's `strconv.Atoi` with its error dropped, which leaves the limit where a number does not fit.
fn atoi(text: &str) -> i64 {
    match num::parse_int(text, 10, 64) {
        Ok(n) => n,
        Err(num::NumError::Range) if text.starts_with('-') => i64::MIN,
        Err(num::NumError::Range) => i64::MAX,
        Err(num::NumError::Syntax) => 0,
    }
}

fn fold(call: &mut Call<'_>, start: Option<i64>, step: fn(i64, i64) -> i64) -> Result<Value> {
    call.meter.step(call.args.len() as u64)?;
    let mut numbers = call.args.iter().map(to_int);
    let first = start.or_else(|| numbers.next()).unwrap_or(0);
    Ok(Value::int64(numbers.fold(first, step)))
}

fn nonzero(call: &Call<'_>) -> Result<()> {
    if to_int(call.arg(1)) == 0 { fail("runtime error: integer divide by zero") } else { Ok(()) }
}

fn fold_float(call: &Call<'_>, step: fn(f64, f64) -> f64) -> Value {
    Value::Float(call.args.iter().map(to_float).reduce(step).unwrap_or(0.0))
}

/// Go's `math.Max`: NaN wins over all but infinity.
fn max_float(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

type Operation = fn(&Decimal, &Decimal, &mut herald_value::limits::Meter) -> Result<Decimal>;

fn decimals(call: &mut Call<'_>, from_zero: bool, operation: Operation) -> Result<Value> {
    let mut numbers = call.args.iter().map(to_float);
    let first = if from_zero { Some(0.0) } else { numbers.next() };
    let mut result = Decimal::of(first.unwrap_or(0.0))?;
    for number in numbers {
        result = operation(&result, &Decimal::of(number)?, call.meter)?;
    }
    Ok(Value::Float(result.to_float()))
}

/// Powers of ten as Go's `math.Pow` computes them, by squaring the mantissa.
fn power_of_ten(exponent: i64) -> f64 {
    let mut rest = exponent.unsigned_abs();
    if rest > 400 {
        return if exponent > 0 { f64::INFINITY } else { 0.0 };
    }
    let (mut mantissa, mut binary) = (1.0f64, 0i32);
    let (mut square, mut square_binary) = (0.625f64, 4i32);
    while rest != 0 {
        if rest & 1 == 1 {
            mantissa *= square;
            binary += square_binary;
        }
        square *= square;
        square_binary <<= 1;
        if square < 0.5 {
            square += square;
            square_binary -= 1;
        }
        rest >>= 1;
    }
    if exponent < 0 {
        (mantissa, binary) = (1.0 / mantissa, -binary);
    }
    // In two steps, so that neither factor leaves the range of floats.
    let half = binary / 2;
    mantissa * 2f64.powi(half) * 2f64.powi(binary - half)
}

fn round(call: &mut Call<'_>) -> Result<Value> {
    let round_on = match call.arg(2) {
        Value::Nil => 0.5,
        other => to_float(other),
    };
    let power = power_of_ten(call.int(1));
    let digits = power * to_float(call.arg(0));
    let rounded = if digits - digits.trunc() >= round_on { digits.ceil() } else { digits.floor() };
    Ok(Value::Float(rounded / power))
}

/// The numbers from `start` until before `stop`.
fn range(call: &mut Call<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>> {
    let forward = stop >= start;
    if step == 0 || forward != (step > 0) {
        return Ok(Vec::new());
    }
    let count = stop.abs_diff(start).div_ceil(step.unsigned_abs());
    call.meter.step(count)?;
    call.meter.grow(count.saturating_mul(24))?;
    let mut next = Some(start);
    let numbers = std::iter::from_fn(|| {
        let now = next?;
        next = now.checked_add(step);
        Some(now)
    });
    Ok(numbers.take(usize::try_from(count).unwrap_or(0)).collect())
}

fn until(call: &mut Call<'_>, start: i64, stop: i64, step: i64) -> Result<Value> {
    let numbers = range(call, start, stop, step)?;
    ints(numbers.into_iter().map(int_value).collect())
}

fn seq(call: &mut Call<'_>) -> Result<Value> {
    let (start, step, end) = match call.args.len() {
        1 => (1, None, call.int(0)),
        2 => (call.int(0), None, call.int(1)),
        3 => (call.int(0), Some(call.int(1)), call.int(2)),
        _ => return Ok(Value::str("")),
    };
    let direction = if end < start { -1 } else { 1 };
    if direction < 0 && step.is_some_and(|step| step > 0) {
        return Ok(Value::str(""));
    }
    let stop = end.checked_add(direction).ok_or_else(|| CallError::new("seq: the end is too large"))?;
    let numbers = range(call, start, stop, step.unwrap_or(direction))?;
    let parts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    text(call, parts.join(" "))
}
