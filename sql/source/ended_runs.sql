-- The runs of a project that ended with one of these outcomes, by workflow: the max_runs that started last,
-- none of them before started_after. By the engine's index on project and start.
create or replace function meshmetrics.ended_runs(
  of_project uuid,
  of_slug text, -- null: of all workflows
  outcomes meshmetrics.outcome[],
  started_after timestamptz,
  max_runs integer
)
returns table (slug text, outcome meshmetrics.outcome, finished_at timestamptz)
language sql
stable
as $$
  select s.slug, s.outcome, s.finished_at
  from meshmetrics.run_states() s
  where s.run_project_id = of_project
    and s.outcome = any (outcomes)
    and s.flaw is null -- so it is the workflow's project too
    and s.started_at > started_after
    and (of_slug is null or s.slug = of_slug)
  order by s.started_at desc
  limit max_runs
$$;
