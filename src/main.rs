//! The `panelsync` program: reads its arguments and leaves the rest to [`panelsync::cli`].

/// A fan-out makes and drops a few small things for every panel, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    panelsync::cli::run()
}
