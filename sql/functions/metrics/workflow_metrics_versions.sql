-- Every workflow version that the caller may see and that is selected, with its project's name and
-- its counters of all time: all 0 where nothing was counted yet. A screen that follows the broadcasts
-- reads this in the transaction of the numbers that it shows: a change whose base_revision is this
-- revision is the first one that they do not hold. The parameters are those of members.
--
-- open, oldest_open_at, overdue and abandoned are absolute, as in the event `open`.
--
-- created_at is null where workflow_definitions has no such column: MeshHook promises none. The name is
-- left unqualified below, and is that of `otherwise` where the table lacks it.
create or replace function public.workflow_metrics_versions(
  project_ids uuid[] default null,
  workflow_ids uuid[] default null,
  version_mode text default 'all'
)
returns table (
  workflow_id uuid,
  project_id uuid,
  project_name text,
  slug text,
  version integer,
  name text,
  created_at timestamptz,
  revision bigint,
  success_count bigint,
  failure_count bigint,
  canceled_count bigint,
  open integer,
  oldest_open_at timestamptz,
  overdue integer,
  abandoned integer
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  select
    m.workflow_id, m.project_id, left(p.name, 200), m.slug, m.version, m.name,
    case -- null too where a client could not read it
      when d.made_at between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00' then d.made_at
    end,
    coalesce(c.revision, 0), coalesce(c.success_count, 0), coalesce(c.failure_count, 0),
    coalesce(c.canceled_count, 0), coalesce(o.open_count, 0), o.oldest_open_at,
    coalesce(o.overdue_count, 0), coalesce(o.abandoned_count, 0)
  from meshmetrics_parts.members(project_ids, workflow_ids, null, version_mode) m
  join public.projects p on p.id = m.project_id
  cross join lateral (
    select (select created_at from public.workflow_definitions w where w.id = m.workflow_id) as made_at
    from (select null::timestamptz as created_at) otherwise
  ) d
  left join public.workflow_run_metrics c on c.workflow_id = m.workflow_id
  left join public.workflow_run_open_counts o on o.workflow_id = m.workflow_id
  order by left(p.name, 200), m.project_id, m.slug, m.version;
end;
$$;
