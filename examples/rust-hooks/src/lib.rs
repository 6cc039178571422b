//! A sync backend with two rules of its own: only editors may delete, and every event leaves an audit row in D1.
#![cfg(target_arch = "wasm32")]

use livestore_sync_worker::hooks::{Committed, Context, HookError, Hooks, Push, Uses};
use serde::Deserialize;
use worker::Env;

/// Rules about who may push what, and a trail of what was pushed.
#[derive(Debug)]
pub struct AppHooks {
    env: Env,
}

impl AppHooks {
    /// The hooks of a Worker or an object with these bindings.
    #[must_use]
    pub fn new(env: Env) -> Self {
        Self { env }
    }
}

/// The part of a token's claims that the rules look at.
#[derive(Deserialize)]
struct Claims {
    role: String,
}

impl Hooks for AppHooks {
    fn uses(&self) -> Uses {
        Uses::NONE.on_push().on_committed()
    }

    /// Refuses a batch that deletes something unless its token says `"role": "editor"`.
    async fn on_push(&self, push: &Push<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let is_deletion = |name: &str| name.starts_with("v1.") && name.ends_with("Deleted");
        let claims = context.claims.map(serde_json::from_str::<Claims>);
        let is_editor = matches!(claims, Some(Ok(Claims { role })) if role == "editor");
        match push.batch.iter().find(|event| is_deletion(&event.name)) {
            Some(event) if !is_editor => {
                Err(format!("only editors may push {}", event.name).into())
            }
            _ => Ok(()),
        }
    }

    /// Writes one row for each event. What is told twice is written once.
    async fn on_committed(
        &self,
        committed: &Committed<'_>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        write_audit(&self.env, committed, context)
            .await
            .map_err(|error| HookError::new(error.to_string()))
    }
}

async fn write_audit(
    env: &Env,
    committed: &Committed<'_>,
    context: &Context<'_>,
) -> worker::Result<()> {
    let database = env.d1("DB")?;
    let rows = committed.events.iter().map(|event| {
        worker::query!(
            &database,
            "INSERT INTO audit (store_id, backend_id, seq_num, name, client_id) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO NOTHING",
            context.store_id,
            committed.backend_id,
            event.seq_num,
            event.name,
            event.client_id,
        )
    });
    database.batch(rows.collect::<worker::Result<_>>()?).await?;
    Ok(())
}

livestore_sync_worker::export!(AppHooks, AppHooks::new);
