//! The `panelsync` program: reads its arguments and leaves the rest to [`panelsync::cli`].

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    panelsync::cli::run()
}
