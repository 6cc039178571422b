//! Sync backend for LiveStore apps on Cloudflare.
//!
//! A Worker routes each store to one Durable Object, which owns the store's event log. The core, which
//! is everything but `edge`, is a value: a frame and the time go in, an ordered list of outputs comes
//! out; it compiles and is tested on the host. `ARCHITECTURE.md` has the code map, the invariants and
//! the flows.

pub mod auth;
pub mod backend;
pub mod config;
#[cfg(target_arch = "wasm32")]
pub mod edge;
pub mod event;
pub mod eventlog;
pub mod hooks;
pub mod json;
pub mod limits;
pub mod route;
pub mod store;
pub mod transfer;
pub mod wire;

/// The platform's crate, for the `Env` that hooks are made of. A crate that needs one of its features
/// depends on it too.
#[cfg(target_arch = "wasm32")]
pub use worker;

/// Exports what the runtime loads: the Worker and the Durable Object, with hooks of `$hooks`, a
/// type that implements [`hooks::Hooks`]. `$new` makes them: it is a `fn(worker::Env) -> $hooks`, or a
/// closure that captures nothing.
///
/// To be called once, at the root of a `cdylib` crate; beyond WebAssembly it does nothing.
#[macro_export]
macro_rules! export {
    ($hooks:ty, $new:expr) => {
        $crate::export!(@with_host $hooks, |env, _host| {
            const NEW: fn($crate::worker::Env) -> $hooks = $new;
            NEW(env)
        });
    };
    // `$new` is shown the JavaScript value that the host gives, too.
    (@with_host $hooks:ty, $new:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(missing_docs, missing_debug_implementations, unreachable_pub)]
        mod livestore_sync_worker_exports {
            #[allow(unused_imports)] // `()` needs nothing from there.
            use super::*;
            // The crate that uses this macro may not depend on it, and what the attributes expand to does.
            use wasm_bindgen::prelude::*;
            use $crate::edge::wasm_bindgen;

            use ::std::rc::Rc;
            use $crate::hooks::Installed;

            const NEW: fn($crate::worker::Env, JsValue) -> $hooks = $new;

            fn hooks_of(env: &JsValue, host: JsValue) -> $hooks {
                NEW(env.clone().unchecked_into(), host)
            }

            #[wasm_bindgen(wasm_bindgen = $crate::edge::wasm_bindgen)]
            pub struct Worker {
                entry: $crate::edge::Worker,
                env: JsValue,
                hooks: Rc<Installed<$hooks>>,
            }

            #[wasm_bindgen(wasm_bindgen = $crate::edge::wasm_bindgen)]
            impl Worker {
                #[wasm_bindgen(constructor)]
                pub fn new(env: JsValue) -> Worker {
                    let hooks = Rc::new(Installed::new(hooks_of(&env, JsValue::UNDEFINED)));
                    let entry = $crate::edge::Worker::new(env.clone());
                    Self { entry, env, hooks }
                }

                /// `host`, if there is one, is what hooks of this request alone are made of.
                pub fn fetch(&self, request: JsValue, host: JsValue) -> Result<JsValue, JsValue> {
                    if host.is_undefined() {
                        return self.entry.fetch(request, &self.hooks);
                    }
                    let hooks = Rc::new(Installed::new(hooks_of(&self.env, host)));
                    self.entry.fetch(request, &hooks)
                }
            }

            /// What a client says in the query of its URL, as JSON; undefined if that is no request to sync.
            #[wasm_bindgen(wasm_bindgen = $crate::edge::wasm_bindgen, js_name = syncParams)]
            pub fn sync_params(query: &str) -> Option<String> {
                $crate::route::sync_params(query)
            }

            #[wasm_bindgen(wasm_bindgen = $crate::edge::wasm_bindgen)]
            pub fn begin() {
                $crate::edge::begin();
            }

            #[wasm_bindgen(wasm_bindgen = $crate::edge::wasm_bindgen)]
            pub fn owner() -> u32 {
                $crate::edge::owner()
            }

            #[wasm_bindgen(wasm_bindgen = $crate::edge::wasm_bindgen)]
            pub struct SyncObject {
                object: $crate::edge::Object<$hooks>,
                owner: $crate::edge::Owner,
            }

            #[wasm_bindgen(wasm_bindgen = $crate::edge::wasm_bindgen)]
            impl SyncObject {
                #[wasm_bindgen(constructor)]
                pub fn new(state: JsValue, env: JsValue, host: JsValue) -> Result<SyncObject, JsValue> {
                    let owner = $crate::edge::Owner::new(state.clone());
                    let object = owner.run(|| {
                        let hooks = hooks_of(&env, host);
                        $crate::edge::Object::new(state, env, hooks)
                    })?;
                    Ok(Self { object, owner })
                }

                pub fn fetch(
                    &self,
                    request: JsValue,
                    visit: Option<String>,
                    forwarded: Option<String>,
                    body: Option<Vec<u8>>,
                ) -> Result<JsValue, JsValue> {
                    let (visit, forwarded) = (visit.as_deref(), forwarded.as_deref());
                    let request = request.unchecked_into();
                    self.owner
                        .run(|| self.object.fetch(request, visit, forwarded, body))
                }

                pub fn rpc(&self, payload: JsValue) -> Result<JsValue, JsValue> {
                    self.owner.run(|| self.object.rpc(&payload))
                }

                #[wasm_bindgen(js_name = webSocketMessage)]
                pub fn web_socket_message(
                    &self,
                    socket: JsValue,
                    message: JsValue,
                ) -> Result<JsValue, JsValue> {
                    self.owner
                        .run(|| self.object.web_socket_message(&socket, &message))
                }

                #[wasm_bindgen(js_name = webSocketClose)]
                pub fn web_socket_close(&self, socket: JsValue, code: u16) {
                    self.owner
                        .run(|| self.object.web_socket_close(&socket, code));
                }

                #[wasm_bindgen(js_name = webSocketError)]
                pub fn web_socket_error(&self, socket: JsValue) {
                    self.owner.run(|| self.object.web_socket_error(&socket));
                }

                pub fn alarm(&self) -> Result<JsValue, JsValue> {
                    self.owner.run(|| self.object.alarm())
                }
            }
        }
    };
}

#[cfg(feature = "exports")]
export!(@with_host edge::JsHooks, |_env, host| edge::JsHooks::new(host));

/// The Rust of the documents compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust-hooks.md")]
struct Readme;
