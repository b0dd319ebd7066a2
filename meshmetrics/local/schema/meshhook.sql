-- MeshHook's tables as far as meshmetrics sees them, written from the facts of its schema.
-- Needs supabase.sql.

create table public.projects (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null references auth.users (id) on delete cascade,
  name text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index projects_owner on public.projects (owner);

-- One row is one version; what a user calls a workflow is (project_id, slug).
create table public.workflow_definitions (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  slug text not null,
  version integer not null default 1,
  name text not null,
  description text,
  status text not null default 'draft' check (status in ('draft', 'published', 'archived')),
  definition jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (project_id, slug, version)
);

create table public.workflow_runs (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  workflow_id uuid not null references public.workflow_definitions (id) on delete cascade,
  status text not null default 'running'
    check (status in ('running', 'succeeded', 'failed', 'paused', 'canceled')),
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index workflow_runs_project_id on public.workflow_runs (project_id);
create index workflow_runs_workflow_id on public.workflow_runs (workflow_id);
create index workflow_runs_status on public.workflow_runs (status);
create index workflow_runs_project_id_started_at
  on public.workflow_runs (project_id, started_at desc);

create function public.set_updated_at() returns trigger
language plpgsql
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

create trigger set_updated_at before update on public.projects
  for each row execute function public.set_updated_at();
create trigger set_updated_at before update on public.workflow_definitions
  for each row execute function public.set_updated_at();
create trigger set_updated_at before update on public.workflow_runs
  for each row execute function public.set_updated_at();

-- The projects of whoever is asking. Definer: it is what the policies stand on.
create function public.user_project_ids() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select id from public.projects where owner = auth.uid()
$$;

alter table public.projects enable row level security;
alter table public.workflow_definitions enable row level security;
alter table public.workflow_runs enable row level security;

create policy projects_of_owner on public.projects
  for all to authenticated
  using (owner = auth.uid()) with check (owner = auth.uid());
create policy workflow_definitions_of_member on public.workflow_definitions
  for all to authenticated
  using (project_id in (select public.user_project_ids()))
  with check (project_id in (select public.user_project_ids()));
create policy workflow_runs_of_member on public.workflow_runs
  for all to authenticated
  using (project_id in (select public.user_project_ids()))
  with check (project_id in (select public.user_project_ids()));

grant select, insert, update, delete
  on public.projects, public.workflow_definitions, public.workflow_runs
  to authenticated, service_role;
