-- Accounts for every run of workflow_runs in one snapshot, by workflow version: each is succeeded, failed,
-- canceled (as the ledger has it), open, set aside (with those of an unknown status), or pending: it ended,
-- and is still to be counted. started is their number, counted apart.
--
-- A run is in the first of these that holds, so what is left over is 0 unless a run is in none: then it is
-- unaccounted for.
create or replace function meshmetrics.account()
returns table (
  workflow_id uuid,
  started bigint,
  succeeded bigint,
  failed bigint,
  canceled bigint,
  open bigint,
  set_aside bigint,
  unknown bigint,
  pending bigint
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select
    r.workflow_id,
    count(*),
    count(*) filter (where l.outcome = 'success'),
    count(*) filter (where l.outcome = 'failure'),
    count(*) filter (where l.outcome = 'canceled'),
    count(*) filter (where l.outcome is null and s.known and s.flaw is null and s.outcome is null),
    count(*) filter (where l.outcome is null and (a.run_id is not null or s.flaw is not null)),
    count(*) filter (where l.outcome is null and a.run_id is null and s.flaw is null and not s.known),
    count(*) filter (
      where l.outcome is null and a.run_id is null and s.flaw is null and s.outcome is not null
    )
  from public.workflow_runs r
  left join meshmetrics.run_states() s on s.run_id = r.id
  left join meshmetrics.counted_runs l on l.run_id = r.id and l.workflow_id = r.workflow_id
  left join meshmetrics.set_aside_runs a
    on a.run_id = r.id and a.run_updated_at is not distinct from r.updated_at
  group by r.workflow_id;
$$;
