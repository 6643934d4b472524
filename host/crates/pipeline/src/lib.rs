//! The rooms an issue walks through, over ports only.
