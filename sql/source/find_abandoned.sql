-- The runs of which workflow_run_abandonments does not say what the evidence says now, max_runs of
-- them at most: what settle_abandoned has to be called with.
--
-- Reads every open run by the engine's index on status, and the newest event of each that has been open for
-- silent_for. A run held abandoned is compared again too, so that one that goes on is taken back.
create or replace function meshmetrics.find_abandoned(silent_for interval, max_runs integer)
returns uuid[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  return (
    with candidates as materialized (
      select r.id
      from public.workflow_runs r
      where r.status::text in (
          select o.status from meshmetrics.status_outcomes o where o.outcome is null
        )
        and r.created_at <= now() - least(silent_for, interval '1 minute')
    ),
    evidence as materialized (
      select e.run_id, e.abandoned_at
      from meshmetrics.abandoned_evidence(array(select c.id from candidates c), silent_for) e
    )
    select coalesce(array_agg(d.run_id), '{}')
    from (
      select coalesce(e.run_id, a.run_id) as run_id
      from evidence e
      full join public.workflow_run_abandonments a on a.run_id = e.run_id
      where e.abandoned_at is distinct from a.abandoned_at
        -- A run of another project than its workflow is set aside, whatever its events say.
        and (e.run_id is null or exists (
          select from meshmetrics.run_states() s where s.run_id = e.run_id and s.flaw is null
        ))
      limit max_runs
    ) d
  );
end;
$$;
