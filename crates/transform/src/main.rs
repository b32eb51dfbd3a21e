#![doc = include_str!("../README.md")]

/// Ends the process where there is no memory left.
#[global_allocator]
static ALLOCATOR: lazaret_sandbox::JailedAllocator = lazaret_sandbox::JailedAllocator;

fn main() {
    lazaret_sandbox::jail::run(lazaret_transform::transform)
}
