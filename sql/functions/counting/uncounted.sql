-- The runs of which the ledger does not say what the run says, but for those that have a flaw of their own or an
-- unknown status. A run counted before its workflow moved to another project stays as it was counted.
--
-- pending: a walk under way has still to come by. The sweeps check everything updated
-- after their checkpoint, the back-fill everything behind its own until it is done. A run that the database
-- refused to count (set_aside_runs) is never pending.
create or replace function meshmetrics.uncounted()
returns table (
  run_id uuid,
  workflow_id uuid,
  updated_at timestamptz,
  outcome meshmetrics.outcome,
  finished_at timestamptz,
  counted_outcome meshmetrics.outcome,
  counted_finished_at timestamptz,
  pending boolean
)
language sql
stable
as $$
  select
    s.run_id, s.workflow_id, s.updated_at, s.outcome, s.finished_at,
    l.outcome, l.finished_at,
    not exists (
      select from meshmetrics.set_aside_runs a
      where a.run_id = s.run_id and a.run_updated_at is not distinct from s.updated_at
    )
    and coalesce(
      s.updated_at >= (select c.updated_at from meshmetrics.checkpoint c where c.name = 'sweep')
      or (s.updated_at, s.run_id) > (
        select c.updated_at, c.run_id from meshmetrics.checkpoint c
        where c.name = 'backfill' and not c.done
      ),
      false
    )
  from (
    select
      r.run_id, r.workflow_id, r.updated_at,
      case when r.flaw is null then r.outcome end as outcome,
      case when r.flaw is null and r.outcome is not null then r.finished_at end as finished_at,
      r.foreign_project
    from meshmetrics.run_states() r
    where r.known
  ) s
  left join meshmetrics.counted_runs l on l.run_id = s.run_id
  where (s.outcome is not null or l.run_id is not null)
    and (s.workflow_id, s.outcome, s.finished_at)
      is distinct from (l.workflow_id, l.outcome, l.finished_at)
    and not (s.foreign_project and l.run_id is not null and l.workflow_id = s.workflow_id)
$$;
