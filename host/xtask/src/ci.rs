//! x
pub(crate) fn run(_r: &std::path::Path) -> anyhow::Result<()> {
    Ok(())
}
pub(crate) fn demo(_r: &std::path::Path, _a: &[String]) -> anyhow::Result<()> {
    Ok(())
}
