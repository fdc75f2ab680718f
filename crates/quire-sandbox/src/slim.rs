//! What a process of a sandbox gives back once it stands: it may stand idle for days, beside many others.

/// Has the allocator keep little for itself: one place for all threads, and large blocks go back at once. For a process that
/// has one thread so far.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets numbers of the allocator; nobody else is allocating.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
    }
}

/// Gives back memory that was freed, and the pages of this program's code and constants that were needed to come so far: those
/// that are used again come again, from the file.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback is called during the call only, and takes no data.
    unsafe { libc::dl_iterate_phdr(Some(drop_pages), std::ptr::null_mut()) };
}

/// Drops what the first object, the program itself, has mapped of its file and never writes.
unsafe extern "C" fn drop_pages(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader gives a valid description of the object and of all its segments.
    let (base, segments) = unsafe {
        let info = &*info;
        (info.dlpi_addr as usize, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    let page = crate::process::page_size() as usize;
    for segment in segments {
        if segment.p_type != libc::PT_LOAD || segment.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = base + segment.p_vaddr as usize;
        let first = start / page * page;
        let length = start + segment.p_memsz as usize - first;
        // SAFETY: these pages are mapped from the file and were never written to, so they read the same when they come again.
        unsafe { libc::madvise(first as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    1 // no other object
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_program_goes_on_without_its_pages() {
        let before = crate::SPAWNER.to_owned();
        super::give_back();
        assert_eq!(before, crate::SPAWNER);
        assert!(std::thread::spawn(|| "still".repeat(3)).join().unwrap().ends_with("still"));
    }
}
