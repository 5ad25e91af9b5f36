//! Decimal arithmetic: sprig's functions on floats compute with decimal digits and turn the result back.

use herald_value::{CallError, limits::Meter};
use num_bigint::BigInt;

use super::help::{Result, fail};

/// A number `digits * 10^exponent`.
pub(super) struct Decimal {
    digits: BigInt,
    exponent: i64,
}

/// Digits after the point that a division gives.
const DIVISION_PRECISION: i64 = 16;
/// Far more than any sum of floats needs; a long product of tiny numbers would grow without end.
const MOST_DIGITS: u64 = 20_000;

impl Decimal {
    /// The shortest decimal that reads back as this float.
    pub(super) fn of(x: f64) -> Result<Decimal> {
        if !x.is_finite() {
            return fail(format!("Cannot create a Decimal from {}", if x.is_nan() { "NaN" } else { "Inf" }));
        }
        let shortest = format!("{x:e}");
        let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
        let decimals = mantissa.split_once('.').map_or(0, |(_, d)| d.len() as i64);
        let unreadable = || CallError::new("number cannot be read as a decimal");
        Ok(Decimal {
            digits: mantissa.replace('.', "").parse().map_err(|_| unreadable())?,
            exponent: exponent.parse::<i64>().map_err(|_| unreadable())? - decimals,
        })
    }

    /// The nearest float.
    pub(super) fn to_float(&self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(0.0)
    }

    fn is_zero(&self) -> bool {
        self.digits.bits() == 0
    }
}

fn power(exponent: i64, meter: &mut Meter) -> Result<BigInt> {
    let exponent = exponent.unsigned_abs();
    if exponent > MOST_DIGITS {
        return Err(CallError::over_limit(format!("a number with more than {MOST_DIGITS} digits")));
    }
    meter.step(exponent)?;
    Ok(BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(u32::MAX)))
}

/// The digits of both numbers at the smaller exponent.
fn aligned(a: &Decimal, b: &Decimal, meter: &mut Meter) -> Result<(BigInt, BigInt, i64)> {
    let exponent = a.exponent.min(b.exponent);
    let left = &a.digits * power(a.exponent - exponent, meter)?;
    let right = &b.digits * power(b.exponent - exponent, meter)?;
    Ok((left, right, exponent))
}

pub(super) fn add(a: &Decimal, b: &Decimal, meter: &mut Meter) -> Result<Decimal> {
    let (left, right, exponent) = aligned(a, b, meter)?;
    Ok(Decimal { digits: left + right, exponent })
}

pub(super) fn sub(a: &Decimal, b: &Decimal, meter: &mut Meter) -> Result<Decimal> {
    let (left, right, exponent) = aligned(a, b, meter)?;
    Ok(Decimal { digits: left - right, exponent })
}

pub(super) fn mul(a: &Decimal, b: &Decimal, meter: &mut Meter) -> Result<Decimal> {
    let bits = a.digits.bits();
    if bits > MOST_DIGITS * 4 {
        return Err(CallError::over_limit(format!("a number with more than {MOST_DIGITS} digits")));
    }
    meter.step(bits / 64 + 1)?;
    Ok(Decimal { digits: &a.digits * &b.digits, exponent: a.exponent + b.exponent })
}

/// Rounded to 16 digits after the point, halves away from zero.
pub(super) fn div(a: &Decimal, b: &Decimal, meter: &mut Meter) -> Result<Decimal> {
    if b.is_zero() {
        return fail("decimal division by 0");
    }
    let shift = a.exponent - b.exponent + DIVISION_PRECISION;
    let factor = power(shift, meter)?;
    let (mut over, mut under) = (a.digits.clone(), b.digits.clone());
    if shift >= 0 {
        over *= factor;
    } else {
        under *= factor;
    }
    let negative = (over.sign() == num_bigint::Sign::Minus) != (under.sign() == num_bigint::Sign::Minus);
    let (over, under) = (BigInt::from(over.magnitude().clone()), BigInt::from(under.magnitude().clone()));
    let digits: BigInt = (&over * 2 + &under) / (&under * 2);
    Ok(Decimal { digits: if negative { -digits } else { digits }, exponent: -DIVISION_PRECISION })
}
