-- MeshHook's tables as far as meshmetrics reads them, written from the facts of its schema: equal to
-- tests/support/meshhook_catalogue.json, which tests/devstack/test_stand_in.py compares, faults included.
-- Needs supabase.sql, whose default privileges open these tables to the API's roles.

create table public.projects (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null, -- no foreign key: the projects of a deleted user stay
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
  definition jsonb not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  name text not null,
  description text,
  status text default 'draft' check (status in ('draft', 'published', 'archived')),
  user_id uuid,
  unique (project_id, slug, version)
);
create index workflow_definitions_project_id on public.workflow_definitions (project_id);
create index workflow_definitions_slug on public.workflow_definitions (project_id, slug);
create index workflow_definitions_status on public.workflow_definitions (status);
create index workflow_definitions_user_id on public.workflow_definitions (user_id);

create table public.workflow_runs (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  workflow_id uuid not null references public.workflow_definitions (id) on delete cascade,
  status text not null check (status in ('running', 'succeeded', 'failed', 'paused', 'canceled')),
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

-- The engine's log of each run, a partition a month. Its row-level security was lost when MeshHook
-- partitioned the table; that is how it is.
create sequence public.workflow_events_partitioned_id_seq;
create table public.workflow_events (
  id bigint not null default nextval('public.workflow_events_partitioned_id_seq'),
  run_id uuid not null references public.workflow_runs (id) on delete cascade,
  ts timestamptz not null default now(),
  type text not null,
  payload jsonb not null,
  created_at timestamptz not null default now(),
  primary key (id, ts)
) partition by range (ts);
alter sequence public.workflow_events_partitioned_id_seq owned by public.workflow_events.id;

-- From three months ago, as much as the demo's history needs, to three months from now.
do $$
declare
  first_day date;
begin
  for first_day in
    select generate_series(
      date_trunc('month', now()) - interval '3 months',
      date_trunc('month', now()) + interval '3 months',
      interval '1 month'
    )::date
  loop
    execute format(
      'create table public.%I partition of public.workflow_events for values from (%L) to (%L)',
      to_char(first_day, '"workflow_events_y"YYYY"m"MM'),
      first_day, (first_day + interval '1 month')::date
    );
    execute format(
      'create index on public.%1$I (run_id); create index on public.%1$I (run_id, ts);'
      ' create index on public.%1$I (type)',
      to_char(first_day, '"workflow_events_y"YYYY"m"MM')
    );
  end loop;
end
$$;

create table public.job_tracking (
  id uuid primary key default gen_random_uuid(),
  msg_id bigint not null,
  run_id uuid not null references public.workflow_runs (id) on delete cascade,
  queue_name text not null,
  attempt integer not null default 1,
  max_attempts integer not null default 5,
  enqueued_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  failed_at timestamptz,
  moved_to_dlq_at timestamptz,
  error_message text,
  error_stack text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index job_tracking_msg_id on public.job_tracking (msg_id);
create index job_tracking_run_id on public.job_tracking (run_id);
create index job_tracking_queue_name on public.job_tracking (queue_name);
create index job_tracking_enqueued_at on public.job_tracking (enqueued_at desc);
create index job_tracking_status
  on public.job_tracking (completed_at, failed_at, moved_to_dlq_at);

create function public.update_updated_at_column() returns trigger
language plpgsql
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

create trigger update_updated_at before update on public.projects
  for each row execute function public.update_updated_at_column();
create trigger update_updated_at before update on public.workflow_definitions
  for each row execute function public.update_updated_at_column();
create trigger update_updated_at before update on public.workflow_runs
  for each row execute function public.update_updated_at_column();
create trigger update_updated_at before update on public.job_tracking
  for each row execute function public.update_updated_at_column();

-- The caller's projects. As in MeshHook it sets no search_path and names `projects` without a schema:
-- it works only where the caller's path holds public, and every policy calls it.
create function public.user_project_ids() returns setof uuid
language sql stable security definer
as $$
  select id from projects where owner = auth.uid();
$$;

alter table public.projects enable row level security;
alter table public.workflow_definitions enable row level security;
alter table public.workflow_runs enable row level security;

create policy "select own" on public.projects for select using (owner = auth.uid());
create policy "insert own" on public.projects for insert with check (owner = auth.uid());
create policy "update own" on public.projects for update
  using (owner = auth.uid()) with check (owner = auth.uid());
create policy "delete own" on public.projects for delete using (owner = auth.uid());

create policy "select own" on public.workflow_definitions for select
  using (project_id in (select user_project_ids()));
create policy "insert own" on public.workflow_definitions for insert
  with check (project_id in (select user_project_ids()));
create policy "update own" on public.workflow_definitions for update
  using (project_id in (select user_project_ids()))
  with check (project_id in (select user_project_ids()));
create policy "delete own" on public.workflow_definitions for delete
  using (project_id in (select user_project_ids()));

create policy "select own" on public.workflow_runs for select
  using (project_id in (select user_project_ids()));
create policy "insert own" on public.workflow_runs for insert
  with check (project_id in (select user_project_ids()));
create policy "update own" on public.workflow_runs for update
  using (project_id in (select user_project_ids()))
  with check (project_id in (select user_project_ids()));
create policy "delete own" on public.workflow_runs for delete
  using (project_id in (select user_project_ids()));

create view public.workflows with (security_invoker = true) as
select
  id, project_id, slug, name, description, status, user_id, version, definition, created_at, updated_at
from public.workflow_definitions;
