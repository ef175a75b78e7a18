//! Formats of `printf` for numbers, such as `%.3g`.

use std::str::FromStr;

use crate::element::Element;

/// The maximum width and precision of a format.
const MAX_DIGITS: usize = 1000;

/// One conversion of `printf` with the text around it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NumberFormat {
    before: String,
    after: String,
    is_left: bool,
    has_zeros: bool,
    /// The sign of a number that is not negative: `+`, a space or nothing.
    sign: &'static str,
    width: usize,
    precision: Option<usize>,
    conversion: Conversion,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Conversion {
    /// `d`, `i`, `u`
    Integer,
    /// `x`, `X`
    Hexadecimal { is_upper: bool },
    /// `f`, `F`
    Fixed,
    /// `e`, `E`
    Exponent { is_upper: bool },
    /// `g`, `G`
    Shortest { is_upper: bool },
}

impl FromStr for NumberFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "give one conversion of printf, such as %.3g, %8.2f, %e, %d or %x".to_owned();
        let start = conversion_start(text).ok_or_else(wrong)?;
        let mut rest = &text[start + 1..];
        let mut format = Self {
            before: text[..start].replace("%%", "%"),
            after: String::new(),
            is_left: false,
            has_zeros: false,
            sign: "",
            width: 0,
            precision: None,
            conversion: Conversion::Integer,
        };
        while let Some(flag) = rest.chars().next() {
            match flag {
                '-' => format.is_left = true,
                '0' => format.has_zeros = true,
                '+' => format.sign = "+",
                ' ' if format.sign.is_empty() => format.sign = " ",
                ' ' => {}
                _ => break,
            }
            rest = &rest[1..];
        }
        format.width = take_number(&mut rest)?;
        if let Some(precision) = rest.strip_prefix('.') {
            rest = precision;
            format.precision = Some(take_number(&mut rest)?);
        }
        // C's length modifiers of integers have no meaning here.
        rest = rest.trim_start_matches(['l', 'h', 'z', 'j', 'q', 'L']);
        let conversion = rest.chars().next().ok_or_else(wrong)?;
        let is_upper = conversion.is_ascii_uppercase();
        format.conversion = match conversion.to_ascii_lowercase() {
            'd' | 'i' | 'u' if !is_upper => Conversion::Integer,
            'x' => Conversion::Hexadecimal { is_upper },
            'f' => Conversion::Fixed,
            'e' => Conversion::Exponent { is_upper },
            'g' => Conversion::Shortest { is_upper },
            _ => return Err(wrong()),
        };
        let after = &rest[1..];
        if conversion_start(after).is_some() {
            return Err(wrong());
        }
        format.after = after.replace("%%", "%");
        Ok(format)
    }
}

/// The place of the first `%` that is not doubled.
fn conversion_start(text: &str) -> Option<usize> {
    let mut start = 0;
    loop {
        let found = start + text[start..].find('%')?;
        if !text[found + 1..].starts_with('%') {
            return Some(found);
        }
        start = found + 2;
    }
}

fn take_number(rest: &mut &str) -> Result<usize, String> {
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    match digits.parse() {
        _ if digits.is_empty() => Ok(0),
        Ok(number) if number <= MAX_DIGITS => Ok(number),
        _ => Err(format!("a number has at most {MAX_DIGITS} digits")),
    }
}

impl NumberFormat {
    /// `%g` with `digits` significant digits.
    pub(crate) fn shortest(digits: usize) -> Self {
        Self {
            before: String::new(),
            after: String::new(),
            is_left: false,
            has_zeros: false,
            sign: "",
            width: 0,
            precision: Some(digits),
            conversion: Conversion::Shortest { is_upper: false },
        }
    }

    /// Formats an element. Both parts of a complex number are formatted; a non-integer is rounded
    /// for `%d` and `%x`.
    pub(crate) fn format(&self, element: Element) -> String {
        match element {
            Element::Bool(x) => self.integer(x.into()),
            Element::Signed(x) => self.integer(x.into()),
            Element::Unsigned(x) => self.integer(x.into()),
            Element::Single(x) => self.real(x.into()),
            Element::Double(x) => self.real(x),
            Element::Complex64(re, im) => self.complex(re.into(), im.into()),
            Element::Complex128(re, im) => self.complex(re, im),
            Element::Unknown => element.to_string(),
        }
    }

    fn complex(&self, re: f64, im: f64) -> String {
        let signed = Self {
            sign: "+",
            ..self.clone()
        };
        format!("{}{}i", self.real(re), signed.real(im))
    }

    fn integer(&self, x: i128) -> String {
        let digits = match self.conversion {
            Conversion::Integer => x.unsigned_abs().to_string(),
            Conversion::Hexadecimal { is_upper: false } => format!("{:x}", x.unsigned_abs()),
            Conversion::Hexadecimal { is_upper: true } => format!("{:X}", x.unsigned_abs()),
            _ => return self.real(x as f64),
        };
        self.pad(x < 0, digits, true)
    }

    fn real(&self, x: f64) -> String {
        let abs = x.abs();
        if !x.is_finite() {
            let digits = if x.is_nan() { "nan" } else { "inf" };
            return self.pad(x == f64::NEG_INFINITY, digits.to_owned(), false);
        }
        let precision = self.precision.unwrap_or(6);
        let digits = match self.conversion {
            Conversion::Integer | Conversion::Hexadecimal { .. } => {
                return self.integer(x.round_ties_even() as i128);
            }
            Conversion::Fixed => format!("{abs:.precision$}"),
            Conversion::Exponent { is_upper } => with_exponent(abs, precision, is_upper),
            Conversion::Shortest { is_upper } => shortest(abs, precision.max(1), is_upper),
        };
        self.pad(x.is_sign_negative(), digits, true)
    }

    /// Adds the sign, the padding, and the text around the number.
    fn pad(&self, is_negative: bool, digits: String, is_number: bool) -> String {
        let sign = if is_negative { "-" } else { self.sign };
        let missing = self.width.saturating_sub(sign.len() + digits.len());
        let Self { before, after, .. } = self;
        match (self.is_left, self.has_zeros && is_number) {
            (true, _) => format!("{before}{sign}{digits}{:missing$}{after}", ""),
            (_, true) => format!("{before}{sign}{:0>missing$}{digits}{after}", ""),
            _ => format!("{before}{:missing$}{sign}{digits}{after}", ""),
        }
    }
}

/// The digits and the exponent as in C, which has a sign and two digits.
fn with_exponent(abs: f64, precision: usize, is_upper: bool) -> String {
    let text = format!("{abs:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (letter, sign) = (
        if is_upper { 'E' } else { 'e' },
        if exponent < 0 { '-' } else { '+' },
    );
    format!("{digits}{letter}{sign}{:02}", exponent.unsigned_abs())
}

/// The number with `significant` significant digits, without zeros at the end.
fn shortest(abs: f64, significant: usize, is_upper: bool) -> String {
    let text = with_exponent(abs, significant - 1, is_upper);
    let split = text.find(['e', 'E']).unwrap_or(text.len());
    let (digits, exponent) = text.split_at(split);
    let power: i64 = exponent
        .get(1..)
        .and_then(|power| power.parse().ok())
        .unwrap_or(0);
    let without_zeros = |digits: &str| match digits.contains('.') {
        true => digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        false => digits.to_owned(),
    };
    if power < -4 || power >= significant as i64 {
        return format!("{}{exponent}", without_zeros(digits));
    }
    let decimals = (significant as i64 - 1 - power) as usize;
    without_zeros(&format!("{abs:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(format: &str, x: f64) -> String {
        format
            .parse::<NumberFormat>()
            .unwrap()
            .format(Element::Double(x))
    }

    fn integer(format: &str, x: i64) -> String {
        format
            .parse::<NumberFormat>()
            .unwrap()
            .format(Element::Signed(x))
    }

    /// The expected texts are those of `printf` of glibc.
    #[test]
    fn reals_are_formatted_as_printf_does() {
        assert_eq!(real("%g", 0.0), "0");
        assert_eq!(real("%g", 100000.0), "100000");
        assert_eq!(real("%g", 1000000.0), "1e+06");
        assert_eq!(real("%g", 0.0001), "0.0001");
        assert_eq!(real("%g", 0.00001), "1e-05");
        assert_eq!(real("%.3g", 1234.5), "1.23e+03");
        assert_eq!(real("%.3g", 0.99999), "1");
        assert_eq!(real("%.0g", 0.26), "0.3");
        assert_eq!(real("%G", 1e-300), "1E-300");
        assert_eq!(real("%e", 12345.678), "1.234568e+04");
        assert_eq!(real("%.0E", 5e-324), "5E-324");
        assert_eq!(real("%.2f", -0.005), "-0.01");
        assert_eq!(real("%8.3f|", 3.25), "   3.250|");
        assert_eq!(real("%-8.1f|", 3.25), "3.2     |");
        assert_eq!(real("%+08.2f", 3.25), "+0003.25");
        assert_eq!(real("% d", 2.5), " 2");
        assert_eq!(real("%5g", f64::NAN), "  nan");
        assert_eq!(real("%05g", f64::NEG_INFINITY), " -inf");
        assert_eq!(real("100%% %g%%", 0.5), "100% 0.5%");
    }

    #[test]
    fn integers_are_formatted_as_printf_does() {
        assert_eq!(integer("%d", i64::MIN), "-9223372036854775808");
        assert_eq!(integer("%05ld", -42), "-0042");
        assert_eq!(integer("0x%x", 255), "0xff");
        assert_eq!(integer("%.1f", 3), "3.0");
    }

    #[test]
    fn other_formats_are_refused() {
        for text in [
            "",
            "x",
            "%",
            "%s",
            "%d %d",
            "%99999999999f",
            "%*d",
            "%.3",
            "%D",
            "%é",
        ] {
            assert!(text.parse::<NumberFormat>().is_err(), "{text}");
        }
    }
}
