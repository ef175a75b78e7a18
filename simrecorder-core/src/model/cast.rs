//! Conversion between element types.

use crate::error::{Error, ErrorKind, Result};
use crate::model::dtype::{DType, Element};

/// Converts the bytes of `dtype` elements as Rust's `as` does.
pub(crate) fn cast_elements<T: Element>(dtype: DType, data: &[u8]) -> Result<Vec<T>> {
    macro_rules! from {
        ($($name:ident => $type:ty),*) => {
            match dtype {
                $(DType::$name => {
                    let elements = <$type>::decoded(data)?;
                    elements.into_iter().map(|x| T::from_number(x.to_number())).collect()
                })*
            }
        };
    }
    let converted: Option<Vec<T>> = from!(
        Bool => bool, I8 => i8, I16 => i16, I32 => i32, I64 => i64,
        U8 => u8, U16 => u16, U32 => u32, U64 => u64,
        F16 => half::f16, BF16 => half::bf16, F32 => f32, F64 => f64,
        Complex64 => num_complex::Complex32, Complex128 => num_complex::Complex64
    );
    converted.ok_or_else(|| {
        let message = format!(
            "{dtype} cannot be converted to {}; take its real or imaginary part first",
            T::DTYPE
        );
        Error::new(ErrorKind::TypeMismatch, "cast", message)
    })
}

#[cfg(test)]
mod tests {
    use num_complex::Complex32;

    use super::*;

    #[test]
    fn a_cast_saturates_as_rust_does_and_keeps_64_bit_integers_exact() {
        let cast = |x: f64| cast_elements::<u8>(DType::F64, &x.to_ne_bytes()).unwrap()[0];
        assert_eq!(
            (cast(300.7), cast(-1.0), cast(2.9), cast(f64::NAN)),
            (255, 0, 2, 0)
        );
        let big = u64::MAX - 1;
        assert_eq!(
            cast_elements::<u64>(DType::U64, &big.to_ne_bytes()).unwrap(),
            [big]
        );
        assert_eq!(
            cast_elements::<i8>(DType::U64, &big.to_ne_bytes()).unwrap(),
            [big as i8]
        );
        assert_eq!(cast_elements::<f32>(DType::Bool, &[1]).unwrap(), [1.0]);
    }

    #[test]
    fn a_complex_number_does_not_silently_lose_its_imaginary_part() {
        let one = Complex32::new(1.0, 2.0);
        let bytes = bytemuck::bytes_of(&one);
        assert!(cast_elements::<f32>(DType::Complex64, bytes).is_err());
        let wide = cast_elements::<num_complex::Complex64>(DType::Complex64, bytes).unwrap();
        assert_eq!(wide[0].im, 2.0);
    }
}
