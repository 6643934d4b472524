//! Macros that export a policy as a component. They expand to nothing on other
//! targets than WebAssembly.

/// Exports a type that implements [`Policy`](crate::Policy) and
/// [`Guardrail`](crate::Guardrail) as the module of this crate.
#[macro_export]
macro_rules! export_guardrail {
    ($policy:ty) => {
        $crate::__export_module!($policy, guardrail, {
            impl $crate::bindings::guardrail::exports::selfheal::policy::judge::Guest for Component {
                fn judge_tool_call(context: $crate::Context, call: $crate::ToolCall) -> $crate::Verdict {
                    configured(|policy| $crate::Guardrail::judge_tool_call(policy, &context, &call))
                }
                fn judge_patch(context: $crate::Context, patch: $crate::Patch) -> $crate::Verdict {
                    configured(|policy| $crate::Guardrail::judge_patch(policy, &context, &patch))
                }
            }
        });
    };
}

/// Exports a type that implements [`Policy`](crate::Policy) and
/// [`Risk`](crate::Risk) as the module of this crate.
#[macro_export]
macro_rules! export_risk {
    ($policy:ty) => {
        $crate::__export_module!($policy, risk, {
            impl $crate::bindings::risk::exports::selfheal::policy::assess::Guest for Component {
                fn assess(context: $crate::Context, patch: $crate::Patch) -> $crate::Assessment {
                    configured(|policy| $crate::Risk::assess(policy, &context, &patch))
                }
            }
        });
    };
}

/// Exports a type that implements [`Policy`](crate::Policy) and
/// [`Autonomy`](crate::Autonomy) as the module of this crate.
#[macro_export]
macro_rules! export_autonomy {
    ($policy:ty) => {
        $crate::__export_module!($policy, autonomy, {
            impl $crate::bindings::autonomy::exports::selfheal::policy::decide::Guest for Component {
                fn decide(
                    context: $crate::Context,
                    patch: $crate::Patch,
                    assessment: $crate::Assessment,
                ) -> $crate::Decision {
                    configured(|policy| $crate::Autonomy::decide(policy, &context, &patch, &assessment))
                }
                fn admit(context: $crate::Context, issue: $crate::Issue) -> $crate::Admission {
                    configured(|policy| $crate::Autonomy::admit(policy, &context, &issue))
                }
            }
        });
    };
}

/// What the exported worlds have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_module {
    ($policy:ty, $world:ident, { $($judging:item)* }) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(missing_docs, unsafe_code, unreachable_pub, reason = "generated")]
        mod selfheal_module {
            use super::*;

            struct Component;

            std::thread_local! {
                static POLICY: std::cell::OnceCell<$policy> = const { std::cell::OnceCell::new() };
            }

            /// Runs a question on the configured policy. Without one it traps,
            /// which the host takes as the strictest answer.
            fn configured<T>(question: impl FnOnce(&$policy) -> T) -> T {
                POLICY.with(|policy| match policy.get() {
                    Some(policy) => question(policy),
                    None => std::process::abort(),
                })
            }

            impl $crate::bindings::$world::Guest for Component {
                fn describe() -> $crate::Description {
                    <$policy as $crate::Policy>::describe()
                }
                fn configure(settings: std::string::String) -> std::result::Result<(), std::string::String> {
                    let settings = $crate::Settings::parse(&settings)?;
                    let configured = <$policy as $crate::Policy>::configure(&settings)?;
                    POLICY.with(|policy| policy.set(configured))
                        .map_err(|_| std::string::String::from("configured twice"))?;
                    $crate::__make_room();
                    Ok(())
                }
            }

            $($judging)*

            $crate::bindings::$world::export_world!(Component with_types_in $crate::bindings::$world);
        }
    };
}
