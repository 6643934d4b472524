//! Short ways to say what was attempted when git or the file system fails.

use selfheal_domain::ports::RepositoryError;

/// Makes the error of the attempt `doing` out of its cause.
pub(crate) fn failed<E>(doing: impl Into<String>) -> impl FnOnce(E) -> RepositoryError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let doing = doing.into();
    move |source| RepositoryError::Failed {
        doing,
        source: Box::new(source),
    }
}

/// A failure whose cause is a sentence.
pub(crate) fn broken(doing: impl Into<String>, why: impl Into<String>) -> RepositoryError {
    RepositoryError::Failed {
        doing: doing.into(),
        source: why.into().into(),
    }
}
