-- Makes workflow_run_abandonments say of these runs what the evidence says now, and counts them: a run
-- that was abandoned becomes a failure, and one that went on after all stops being one. Idempotent; returns
-- what count_runs returns.
--
-- silent_for: how long after a failed step nothing may follow before the run is abandoned; 0: none is.
create or replace function meshmetrics.settle_abandoned(
  run_ids uuid[],
  silent_for interval,
  out counted integer,
  out changes jsonb,
  out set_aside jsonb
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  perform meshmetrics.counting_lock(); -- then read the evidence, as count_runs reads the runs

  with evidence as materialized (
    select e.run_id, s.workflow_id, s.project_id, e.abandoned_at, e.evidence
    from meshmetrics.abandoned_evidence(run_ids, silent_for) e
    join meshmetrics.run_states() s on s.run_id = e.run_id
    where s.flaw is null
  ),
  withdrawn as (
    delete from public.workflow_run_abandonments a
    where a.run_id = any (run_ids) and a.run_id not in (select e.run_id from evidence e)
  )
  insert into public.workflow_run_abandonments as a
    (run_id, workflow_id, project_id, abandoned_at, evidence)
  select e.run_id, e.workflow_id, e.project_id, e.abandoned_at, e.evidence from evidence e
  on conflict (run_id) do update
  set workflow_id = excluded.workflow_id,
      project_id = excluded.project_id,
      abandoned_at = excluded.abandoned_at,
      evidence = excluded.evidence;

  select c.counted, c.changes, c.set_aside into counted, changes, set_aside
  from meshmetrics.count_runs(run_ids) c;
end;
$$;
