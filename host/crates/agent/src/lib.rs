//! The broker every effect of an agent passes, and the agent tools behind it.
