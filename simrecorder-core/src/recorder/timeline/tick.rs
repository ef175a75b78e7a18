//! Whole ticks in one call.

use super::{CoordinateType, Timeline};
use crate::error::Result;
use crate::model::record::IntoValue;

/// The records of a tick, as [`Timeline::tick`] takes them: a tuple of up to twelve pairs of a name and a value, or an
/// array, slice or `Vec` of such pairs.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{Coordinate, InMemoryDataStore, Recorder};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// let mut net = recorder.timeline("net", Coordinate::new("step"))?;
/// net.tick(0_u64, (("rate", 0.5), ("spikes", 12_u32), ("v", [-65.0, -64.5])))?; // of different types
/// let mut neurons = recorder.timeline("neurons", Coordinate::new("step"))?;
/// let v: Vec<_> = (0..100).map(|neuron| (format!("v{neuron}"), -65.0)).collect();
/// neurons.tick(0_u64, v)?; // of one type
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
pub trait TickRecords {
    /// Records each pair in the open tick.
    ///
    /// # Errors
    /// As for [`Timeline::record`].
    fn record<T: CoordinateType>(self, timeline: &mut Timeline<T>) -> Result<()>;
}

impl<N: AsRef<str>, V: IntoValue, const LEN: usize> TickRecords for [(N, V); LEN] {
    fn record<T: CoordinateType>(self, timeline: &mut Timeline<T>) -> Result<()> {
        self.as_slice().record(timeline)
    }
}

impl<N: AsRef<str>, V: IntoValue> TickRecords for Vec<(N, V)> {
    fn record<T: CoordinateType>(self, timeline: &mut Timeline<T>) -> Result<()> {
        self.as_slice().record(timeline)
    }
}

impl<N: AsRef<str>, V: IntoValue> TickRecords for &[(N, V)] {
    fn record<T: CoordinateType>(self, timeline: &mut Timeline<T>) -> Result<()> {
        let mut pairs = self.iter();
        pairs.try_for_each(|(name, value)| timeline.record(name.as_ref(), value))
    }
}

macro_rules! tuple {
    ($($name:ident $value:ident $pair:ident),*) => {
        impl<$($name: AsRef<str>, $value: IntoValue),*> TickRecords for ($(($name, $value),)*) {
            fn record<T: CoordinateType>(self, timeline: &mut Timeline<T>) -> Result<()> {
                let ($($pair,)*) = self;
                $(timeline.record($pair.0.as_ref(), $pair.1)?;)*
                Ok(())
            }
        }
    };
}

tuple!(N1 V1 p1);
tuple!(N1 V1 p1, N2 V2 p2);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5, N6 V6 p6);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5, N6 V6 p6, N7 V7 p7);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5, N6 V6 p6, N7 V7 p7, N8 V8 p8);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5, N6 V6 p6, N7 V7 p7, N8 V8 p8, N9 V9 p9);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5, N6 V6 p6, N7 V7 p7, N8 V8 p8, N9 V9 p9,
       N10 V10 p10);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5, N6 V6 p6, N7 V7 p7, N8 V8 p8, N9 V9 p9,
       N10 V10 p10, N11 V11 p11);
tuple!(N1 V1 p1, N2 V2 p2, N3 V3 p3, N4 V4 p4, N5 V5 p5, N6 V6 p6, N7 V7 p7, N8 V8 p8, N9 V9 p9,
       N10 V10 p10, N11 V11 p11, N12 V12 p12);
