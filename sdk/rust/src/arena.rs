//! The memory of a plugin: an arena that starts over whenever a call has given everything back.
//!
//! A call allocates little, answers and is gone, so blocks are handed out one after the other and only the last one can
//! be taken back alone. What `configure` made stays below a floor for good. The heap begins right behind the plugin's
//! data instead of on a page of its own: the host copies the memory for every call, and half the memory is half the copy.
//!
//! A rule that keeps allocations from one call to the next would grow its memory; in a fresh sandbox per call it cannot.

use std::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32::{memory_grow, memory_size},
    cell::UnsafeCell,
    ptr,
};

const PAGE_BYTES: usize = 64 << 10;

#[global_allocator]
static ARENA: Arena = Arena(UnsafeCell::new(State { next: 0, end: 0, floor: 0, live: 0 }));

struct Arena(UnsafeCell<State>);

struct State {
    /// Where the next block begins; 0 before the first.
    next: usize,
    /// Where the memory ends that blocks may take.
    end: usize,
    /// Blocks below it stay for good.
    floor: usize,
    /// Blocks above the floor that were not given back.
    live: usize,
}

// SAFETY: a plugin has one thread.
unsafe impl Sync for Arena {}

unsafe extern "C" {
    /// The linker puts it behind the stack and the data.
    static __heap_base: u8;
}

/// Keeps what is allocated now for good.
pub(crate) fn seal() {
    // SAFETY: one thread, and no reference to the state outlives a method.
    let state = unsafe { &mut *ARENA.0.get() };
    state.floor = state.next;
    state.live = 0;
}

impl State {
    /// Places a block at the next aligned address, growing the memory where it does not fit.
    #[inline]
    fn place(&mut self, layout: Layout) -> Option<usize> {
        let start = self.next.checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size())?;
        if end <= self.end && self.next != 0 {
            self.next = end;
            return Some(start);
        }
        self.grow(layout)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, layout: Layout) -> Option<usize> {
        if self.next == 0 {
            self.next = (&raw const __heap_base).addr();
            self.floor = self.next;
            self.end = memory_size::<0>() * PAGE_BYTES;
        }
        let start = self.next.checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size())?;
        if end > self.end {
            let pages = (end - self.end).div_ceil(PAGE_BYTES);
            if memory_grow::<0>(pages) == usize::MAX {
                return None;
            }
            self.end += pages * PAGE_BYTES;
        }
        self.next = end;
        Some(start)
    }
}

// SAFETY: blocks lie one behind the other between `__heap_base` and the end of the memory, which nothing else uses, so
// they never overlap; the cursor goes back over a block only when it was given back and lies last, or when all were.
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and no reference to the state outlives a method.
        let state = unsafe { &mut *self.0.get() };
        match state.place(layout) {
            Some(start) => {
                state.live += 1;
                ptr::with_exposed_provenance_mut(start)
            }
            None => ptr::null_mut(),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        let start = block.addr();
        if start < state.floor {
            return;
        }
        state.live -= 1;
        if state.live == 0 {
            state.next = state.floor;
        } else if start + layout.size() == state.next {
            state.next = start;
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        let start = block.addr();
        let last = start >= state.floor && start + layout.size() == state.next;
        if last && start.checked_add(size).is_some_and(|end| end <= state.end) {
            state.next = start + size;
            return block;
        }
        // SAFETY: the caller vouches for the block and for the new size, as `GlobalAlloc::realloc` demands.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}
