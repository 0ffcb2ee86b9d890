//! The control API's OpenAPI document, generated from the calls. The page's types are generated from it.

use std::collections::BTreeMap;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder,
        PathItem, PathsBuilder, Ref, RefOr, Required,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        response::ResponseBuilder,
        schema::{ArrayBuilder, Schema},
    },
};

use crate::{
    ApiError, Call, Progress, Scope, contents, disk, events, follow, node, page, pods, retention,
    team,
};

pub fn document() -> OpenApi {
    Document::default()
        .call::<node::GetStatus, _>()
        .list::<node::GetPeers, _>()
        .call::<node::Pause, _>()
        .call::<node::Resume, _>()
        .call::<node::Stop, _>()
        .list::<node::Examine, _>()
        .call::<node::ReadSettings, _>()
        .call::<page::OpenPage, _>()
        .call::<team::CreateTeam, _>()
        .call::<team::Join, _>()
        .call::<team::Enter, _>()
        .call::<team::Invite, _>()
        .call::<team::InviteRobot, _>()
        .call::<team::CheckFresh, _>()
        .list::<team::ListInvites, _>()
        .call::<team::RevokeInvite, _>()
        .list::<team::ListMembers, _>()
        .call::<team::Remove, _>()
        .call::<team::SetRole, _>()
        .call::<team::SetHub, _>()
        .call::<team::Leave, _>()
        .call::<team::Recover, _>()
        .call::<pods::Save, _>()
        .call::<pods::Share, _>()
        .call::<pods::Pull, _>()
        .call::<pods::Load, _>()
        .call::<pods::Undo, _>()
        .call::<pods::Export, _>()
        .call::<pods::Resolve, _>()
        .list::<pods::ListPods, _>()
        .list::<pods::ListVersions, _>()
        .call::<pods::Show, _>()
        .call::<pods::Tag, _>()
        .call::<pods::DropVersion, _>()
        .call::<contents::Diff, _>()
        .call::<contents::ForecastLoad, _>()
        .call::<retention::SetRetention, _>()
        .call::<retention::GetRetention, _>()
        .call::<retention::ApplyRetention, _>()
        .call::<disk::Pin, _>()
        .call::<disk::Collect, _>()
        .call::<disk::GetUsage, _>()
        .call::<disk::Verify, _>()
        .call::<follow::Follow, _>()
        .call::<follow::Unfollow, _>()
        .call::<follow::Autosave, _>()
        .call::<follow::StopAutosave, _>()
        .call::<follow::SaveBeforeStop, _>()
        .call::<follow::Restore, _>()
        .events()
        .build()
}

#[derive(Default)]
struct Document {
    paths: BTreeMap<String, PathItem>,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Document {
    fn call<C, A>(mut self) -> Self
    where
        C: Call<Answer = A> + ToSchema,
        A: ToSchema,
    {
        let answer = self.named::<A>();
        self.add::<C>(RefOr::Ref(answer))
    }

    /// A call whose answer is a list.
    fn list<C, A>(mut self) -> Self
    where
        C: Call<Answer = Vec<A>> + ToSchema,
        A: ToSchema,
    {
        let answer = self.named::<A>();
        let answer = Schema::Array(ArrayBuilder::new().items(answer).build());
        self.add::<C>(RefOr::T(answer))
    }

    /// Registers a shape and the shapes that it contains.
    fn named<T: ToSchema>(&mut self) -> Ref {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        self.schemas.extend(parts);
        self.schemas
            .insert(T::name().into_owned(), <T as PartialSchema>::schema());
        Ref::from_schema_name(T::name())
    }

    fn add<C: Call + ToSchema>(mut self, answer: RefOr<Schema>) -> Self {
        let request = self.named::<C>();
        let error = self.named::<ApiError>();
        let json = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
        let mut operation = OperationBuilder::new()
            .operation_id(Some(C::name()))
            .request_body(Some(
                RequestBodyBuilder::new()
                    .content("application/json", json(RefOr::Ref(request)))
                    .required(Some(Required::True))
                    .build(),
            ))
            .response(
                "200",
                ResponseBuilder::new().content("application/json", json(answer)),
            )
            .response(
                "default",
                ResponseBuilder::new().content("application/json", json(RefOr::Ref(error))),
            );
        let path = match C::SCOPE {
            Scope::Home => format!("/v1/{}", C::PATH),
            Scope::Team => {
                let team = ParameterBuilder::new()
                    .name("team")
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(String::schema()));
                operation = operation.parameter(team);
                format!("/v1/teams/{{team}}/{}", C::PATH)
            }
        };
        let item = PathItem::new(HttpMethod::Post, operation);
        self.paths.insert(path, item);
        self
    }

    /// The stream of what happens: the data of each of its events is one of these.
    fn events(mut self) -> Self {
        let event = RefOr::Ref(self.named::<events::Event>());
        let error = RefOr::Ref(self.named::<ApiError>());
        let content = |schema| ContentBuilder::new().schema(Some(schema)).build();
        let last = ParameterBuilder::new()
            .name(events::LAST_EVENT_ID)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .schema(Some(String::schema()));
        let operation = OperationBuilder::new()
            .operation_id(Some("Events"))
            .parameter(last)
            .response(
                "200",
                ResponseBuilder::new().content("text/event-stream", content(event)),
            )
            .response(
                "default",
                ResponseBuilder::new().content("application/json", content(error)),
            );
        let item = PathItem::new(HttpMethod::Get, operation);
        self.paths.insert(format!("/v1/{}", events::PATH), item);
        self
    }

    fn build(mut self) -> OpenApi {
        self.named::<Progress>();
        let paths = self
            .paths
            .into_iter()
            .fold(PathsBuilder::new(), |paths, (path, item)| {
                paths.path(path, item)
            });
        let components = ComponentsBuilder::new().schemas_from_iter(self.schemas);
        OpenApiBuilder::new()
            .info(
                InfoBuilder::new()
                    .title("podsync control API")
                    .version(env!("CARGO_PKG_VERSION"))
                    .description(Some(
                        "What the daemon can be asked; docs/control-api.md explains it.",
                    )),
            )
            .paths(paths)
            .components(Some(components.build()))
            .build()
    }
}
