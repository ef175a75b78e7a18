//! Large pages for large arrays.

/// Smaller arrays gain nothing.
const WORTHWHILE: usize = 4 << 20;

/// Asks the system for large pages in memory that is not touched yet. On virtual machines, touching it page by page
/// takes longer than decoding into it. NumPy does the same with its arrays. Systems without large pages ignore it.
pub(crate) fn prefer_large_pages(memory: &mut [u8]) {
    #[cfg(target_os = "linux")]
    if memory.len() >= WORTHWHILE {
        let page = rustix::param::page_size();
        let skip = memory.as_ptr().align_offset(page);
        if let Some(inner) = memory.get_mut(skip..) {
            let len = inner.len() / page * page;
            // SAFETY: these are whole pages within memory that is borrowed for writing; the advice
            // changes neither their contents nor the access to them.
            #[allow(unsafe_code, reason = "advice has no safe form")]
            let advised = unsafe {
                let advice = rustix::mm::Advice::LinuxHugepage;
                rustix::mm::madvise(inner.as_mut_ptr().cast(), len, advice)
            };
            if let Err(error) = advised {
                tracing::trace!(%error, "no large pages");
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
