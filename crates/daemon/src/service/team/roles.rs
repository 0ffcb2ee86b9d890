//! Converts membership roles to those of the API.

use podsync_api::team;
use podsync_core::membership::Role;

pub(crate) fn role_to(role: Role) -> team::Role {
    match role {
        Role::Reader => team::Role::Reader,
        Role::Publisher => team::Role::Publisher,
        Role::Admin => team::Role::Admin,
    }
}
