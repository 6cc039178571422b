//! Static tokens, compared in constant time.

use subtle::{Choice, ConstantTimeEq};

/// The token of LiveStore's templates: known to everybody, so good for development alone.
const TEMPLATE_TOKEN: &str = "insecure-token-change-me";

/// The tokens of `AUTH_TOKEN`. Never printed.
#[derive(Clone, Default)]
pub struct Tokens(Vec<String>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// The tokens of a comma-separated list; white space around them does not count.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let tokens = list
            .split(',')
            .map(str::trim)
            .filter(|token| !token.is_empty());
        Self(tokens.map(str::to_owned).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is no token but that of the templates.
    #[must_use]
    pub fn only_template(&self) -> bool {
        self.0.iter().all(|token| token == TEMPLATE_TOKEN)
    }

    /// Whether that of the templates is one of them.
    #[must_use]
    pub fn has_template(&self) -> bool {
        self.0.iter().any(|token| token == TEMPLATE_TOKEN)
    }

    /// Whether one of them has fewer than so many bytes.
    #[must_use]
    pub fn are_short(&self, min: usize) -> bool {
        self.0.iter().any(|token| token.len() < min)
    }

    /// Whether `token` is one of them. The time this takes tells nothing of any token's content.
    #[must_use]
    pub fn accept(&self, token: &str, is_development: bool) -> bool {
        let mut accepted = Choice::from(0);
        for own in &self.0 {
            let usable = is_development || own != TEMPLATE_TOKEN;
            accepted |= own.as_bytes().ct_eq(token.as_bytes()) & Choice::from(u8::from(usable));
        }
        accepted.into()
    }
}

/// The secret that this repository's `.dev.vars` sets: known to everybody, so good for development on localhost alone.
const TEMPLATE_SECRET: &str = "insecure-secret-change-me";

/// The secret of the administration. Never printed.
#[derive(Clone)]
pub struct AdminSecret(String);

impl std::fmt::Debug for AdminSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminSecret")
    }
}

impl AdminSecret {
    /// The secret as it is set; white space around it does not count.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(secret.trim().to_owned())
    }

    /// The secret itself, for the host to derive a key from.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is the one that everybody knows.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.0 == TEMPLATE_SECRET
    }

    /// Whether it has fewer than so many bytes.
    #[must_use]
    pub fn is_short(&self, min: usize) -> bool {
        self.0.len() < min
    }

    /// Whether `secret` is it. The time this takes tells nothing of its content.
    #[must_use]
    pub fn is(&self, secret: &str) -> bool {
        self.0.as_bytes().ct_eq(secret.as_bytes()).into()
    }
}
