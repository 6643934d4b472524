//! The HTTP edge: routes, sessions, roles, OpenAPI, streams.
