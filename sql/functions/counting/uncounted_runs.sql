-- One step of a walk over the runs by (updated_at, id): reads at most max_scanned rows
-- after (after_at, after_id) and updated before `until`, and returns those whose current outcome
-- differs from the ledger. scanned < max_scanned means that the end was reached.
--
-- Runs set aside are left out until their row changes.
create or replace function meshmetrics.uncounted_runs(
  after_at timestamptz,
  after_id uuid,
  until timestamptz,
  max_scanned integer,
  out run_ids uuid[],
  out scanned integer,
  out reached_at timestamptz,
  out reached_id uuid
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off -- as in count_runs
set enable_hashjoin = off -- in the order of the index, and no further than the limit
set enable_mergejoin = off
as $$
  with step as materialized (
    select s.*
    from meshmetrics.run_states() s
    where (s.updated_at, s.run_id) > (after_at, after_id) and s.updated_at < until
    order by s.updated_at, s.run_id
    limit max_scanned
  ),
  last as (
    select s.updated_at, s.run_id from step s order by s.updated_at desc, s.run_id desc limit 1
  )
  select
    coalesce(
      (
        select array_agg(s.run_id)
        from step s
        left join lateral ( -- offset 0: as in count_runs
          select c.* from meshmetrics.counted_runs c where c.run_id = s.run_id offset 0
        ) l on true
        where s.known
          and (s.outcome is not null or l.run_id is not null)
          and not (s.foreign_project and l.run_id is not null and l.workflow_id = s.workflow_id)
          and (
            s.flaw is not null
            or (s.workflow_id, s.outcome, case when s.outcome is not null then s.finished_at end)
              is distinct from (l.workflow_id, l.outcome, l.finished_at)
          )
          and not (
            (select exists (select from meshmetrics.set_aside_runs)) -- rarely true: evaluated once
            and exists (
              select from meshmetrics.set_aside_runs a
              where a.run_id = s.run_id and a.run_updated_at is not distinct from s.updated_at
            )
          )
      ),
      '{}'
    ),
    (select count(*)::integer from step),
    (select last.updated_at from last),
    (select last.run_id from last);
$$;
