//! Snapshots, run worktrees, heal and rollback commits.
