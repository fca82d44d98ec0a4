//! The `panelsync` program: reads its arguments and leaves the rest to [`panelsync::cli`].

fn main() -> std::process::ExitCode {
    panelsync::cli::run()
}
