//! x
pub(crate) fn run(_r: &std::path::Path) -> anyhow::Result<()> {
    Ok(())
}
