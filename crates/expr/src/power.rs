//! Powers, rounded as Go does it.

/// `x` to the power `y`, with the rounding of repeated multiplication of Go's `math.Pow`.
pub(crate) fn power(x: f64, y: f64) -> f64 {
    let special = x == 0.0
        || !x.is_finite()
        || !y.is_finite()
        || y == 0.0
        || x == 1.0
        || y.abs() >= 9_223_372_036_854_775_808.0;
    if special {
        return x.powf(y);
    }
    if y.abs() == 0.5 {
        return if y > 0.0 { x.sqrt() } else { 1.0 / x.sqrt() };
    }
    let (mut whole, mut fraction) = (y.abs().trunc(), y.abs().fract());
    if fraction != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    let mut result = 1.0;
    let mut exponent: i64 = 0;
    if fraction != 0.0 {
        if fraction > 0.5 {
            fraction -= 1.0;
            whole += 1.0;
        }
        result = (fraction * x.ln()).exp();
    }
    let (mut mantissa, mut scale) = split(x);
    let mut bits = whole as i64;
    while bits != 0 {
        if !(-(1 << 12)..=(1 << 12)).contains(&scale) {
            exponent += scale;
            break;
        }
        if bits & 1 == 1 {
            result *= mantissa;
            exponent += scale;
        }
        mantissa *= mantissa;
        scale <<= 1;
        if mantissa < 0.5 {
            mantissa += mantissa;
            scale -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 {
        result = 1.0 / result;
        exponent = -exponent;
    }
    scale_by(result, exponent)
}

/// A mantissa from 0.5 to 1 and an exponent of two.
fn split(x: f64) -> (f64, i64) {
    let (x, shift) = if x.abs() < f64::MIN_POSITIVE { (x * 2f64.powi(52), -52) } else { (x, 0) };
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent + shift)
}

fn scale_by(x: f64, exponent: i64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let (mantissa, own) = split(x);
    let exponent = own + exponent;
    if exponent > 1024 {
        return f64::INFINITY.copysign(x);
    }
    // Only the last step may round.
    if exponent >= -1021 {
        return mantissa * 2.0 * 2f64.powi((exponent - 1) as i32);
    }
    mantissa * 2f64.powi(-1000) * 2f64.powi((exponent + 1000).max(-200) as i32)
}

#[cfg(test)]
mod tests {
    use super::power;

    #[test]
    fn powers() {
        assert_eq!(power(2.0, 10.0), 1024.0);
        assert_eq!(power(2.0, -1074.0), 5e-324);
        assert_eq!(power(2.0, -1080.0), 0.0);
        assert_eq!(power(2.0, 1024.0), f64::INFINITY);
        assert_eq!(power(-2.0, 3.0), -8.0);
        assert_eq!(power(9.0, 0.5), 3.0);
        // What Go's math.Pow gives, last digit included. With fractional exponents the last digit can differ
        // (3 ** -2.5 does), because exp and ln there round differently.
        for (x, y, want) in [
            (10.0, 308.0, 1.0000000000000006e308),
            (10.0, -5.0, 1e-5),
            (1.1, 10.0, 2.593742460100002),
            (2.5, 3.7, 29.67413253642086),
            (1e-300, -1.0, 9.999999999999999e299),
            (7.0, 0.3, 1.792789962520997),
            (1.0001, 100000.0, 22015.456048481854),
        ] {
            assert_eq!(power(x, y), want, "{x} ** {y}");
        }
        assert!(power(-8.0, 1.5).is_nan());
    }
}
