//! The login.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse as _};
use maud::{Markup, html};

use super::page as whole;
use crate::ui::{Ui, guard::Visitor};

pub(in crate::ui) async fn page(State(ui): State<Arc<Ui>>) -> axum::response::Response {
    form(ui.access.tokens.is_some(), None).into_response()
}

/// The form, with what was wrong about the last try.
pub(in crate::ui) fn form(possible: bool, wrong: Option<&str>) -> Markup {
    let content = html! {
        section.lone {
            h1 { "Log in" }
            @if possible {
                p { "With the token you can send deliveries again and drop them." }
                form method="post" action="/login" {
                    // Password managers file a password under a name.
                    input type="text" name="username" value="herald" autocomplete="username" hidden;
                    label for="token" { "Token" }
                    input #token type="password" name="token" required autocomplete="current-password" autofocus
                        aria-describedby=[wrong.map(|_| "wrong")];
                    @if let Some(wrong) = wrong { p.problem #wrong role="alert" { (wrong) } }
                    button.primary { "Log in" }
                }
            } @else {
                p { "Nothing can be changed here, as no token was set up. Start Herald with "
                    code { "--ui-token-file FILE" } "." }
            }
        }
    };
    whole("Log in", "", &Visitor::default(), &content)
}
