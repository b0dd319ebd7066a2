-- What each run is now: its outcome (null while it is open), the time that outcome belongs to, and the
-- flaw that keeps the run from being counted. The project is the workflow's own, so that a run
-- that names another project's workflow can never reach that workflow's counters.
--
-- known: whether its status has a row in status_outcomes. A run of an unknown status has no outcome, and
-- what was counted of it before stays counted until the status is mapped.
--
-- abandoned: the engine left the run open, and the evidence says that it will not go on: a failure.
--
-- foreign_project: the run is of another project than its workflow. That is a flaw, but a run that was counted
-- before its workflow moved stays counted.
--
-- A function with a string body, and no view: a view would keep the engine from altering its own
-- columns. Without `set` it is inlined like one.
create or replace function meshmetrics.run_states()
returns table (
  run_id uuid,
  workflow_id uuid,
  project_id uuid,
  status text,
  known boolean,
  outcome meshmetrics.outcome,
  abandoned boolean,
  started_at timestamptz,
  finished_at timestamptz,
  updated_at timestamptz,
  foreign_project boolean,
  flaw text,
  run_project_id uuid, -- that the run itself names: the engine's index on project and start
  slug text -- of the workflow
)
language sql
stable
as $$
  select
    r.id,
    r.workflow_id,
    d.project_id,
    r.status::text,
    o.status is not null,
    coalesce(o.outcome, case when a.run_id is not null then 'failure'::meshmetrics.outcome end),
    a.run_id is not null,
    r.started_at,
    coalesce(a.abandoned_at, r.finished_at, r.updated_at),
    r.updated_at,
    r.project_id is distinct from d.project_id,
    case
      when r.project_id is distinct from d.project_id
        then 'the run is of another project than its workflow'
      when o.outcome is null then null
      when coalesce(r.finished_at, r.updated_at) is null then 'the run has no finished_at'
      when coalesce(r.finished_at, r.updated_at)
        not between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00'
        then 'finished_at lies outside the years 1 to 9999'
    end,
    r.project_id,
    d.slug
  from public.workflow_runs r
  join public.workflow_definitions d on d.id = r.workflow_id
  left join meshmetrics.status_outcomes o on o.status = r.status::text
  left join lateral ( -- offset 0: looked up for open runs only
    select b.run_id, b.abandoned_at
    from public.workflow_run_abandonments b
    where b.run_id = r.id and o.status is not null and o.outcome is null
    offset 0
  ) a on true
$$;
