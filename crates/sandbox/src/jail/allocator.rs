//! The allocator of the jailed program.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};

use super::{EXIT_MEMORY, process::exit};

/// The system's allocator, except that a process which gets no memory ends with [`EXIT_MEMORY`]: the ordinary way,
/// `abort`, needs system calls that the jail forbids and would look like an attack.
#[derive(Debug, Default)]
pub struct JailedAllocator;

fn or_end(memory: *mut u8) -> *mut u8 {
    if memory.is_null() { exit(EXIT_MEMORY) } else { memory }
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments; a null result never returns.
unsafe impl GlobalAlloc for JailedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is this function's own.
        or_end(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        or_end(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        or_end(unsafe { System.realloc(memory, layout, new_size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
