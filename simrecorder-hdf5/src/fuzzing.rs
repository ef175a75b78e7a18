//! The functions of this crate that fuzz targets call.

use crate::format::filters::{Filter, Pipeline};

/// The size of a chunk in memory.
const CHUNK: usize = 400;

fn pipelines() -> Vec<Pipeline> {
    let (deflate, shuffle) = (Filter::Deflate { level: 1 }, Filter::Shuffle { size: 8 });
    let odd = Filter::Shuffle { size: 3 };
    let sum = Filter::Fletcher32;
    [
        vec![],
        vec![deflate],
        vec![shuffle],
        vec![shuffle, deflate],
        vec![shuffle, deflate, sum],
        vec![sum, deflate],
        vec![deflate, deflate, odd],
        vec![sum, shuffle, sum, deflate],
    ]
    .map(Pipeline)
    .into()
}

/// Decodes a chunk with the filters in its first byte and the mask in its second.
pub fn chunk(bytes: &[u8]) {
    if let [first, mask, chunk @ ..] = bytes {
        let pipelines = pipelines();
        let pipeline = &pipelines[usize::from(*first) % pipelines.len()];
        let _ = pipeline.decode(chunk, u32::from(*mask), &mut [0; CHUNK]);
    }
}

/// Valid chunks in the form of [`chunk`].
pub fn sound_chunks() -> Vec<Vec<u8>> {
    let data: Vec<u8> = (0..CHUNK).map(|i| (i / 5) as u8).collect();
    let encode = |(index, pipeline): (usize, Pipeline)| {
        let encoded = pipeline.is_ours().then(|| pipeline.encode(&data).ok())??;
        Some([&[index as u8, encoded.mask as u8], &encoded.bytes[..]].concat())
    };
    pipelines()
        .into_iter()
        .enumerate()
        .filter_map(encode)
        .collect()
}
