//! x
pub(crate) fn build(_r: &std::path::Path) -> anyhow::Result<()> {
    Ok(())
}
