-- Brings the ledger, buckets and counters of these runs in line with public.workflow_runs.
--
-- Idempotent; in any order; safe for concurrent callers. It takes the counting lock before it reads the
-- runs, so that the last writer has seen the newest rows. It locks no row of the engine's tables, except
-- a workflow that is counted for the first time (key share; it never waits for that lock).
--
-- Steps: read the runs; set flawed ones aside; compare the sound ones with the ledger; lock the counters
-- of their workflows; write ledger, buckets and counters; return what changed.
--
-- counted: the number of runs whose ledger entry changed. changes: the workflows whose counters changed,
-- with the differences by minute (null deltas if a change is older than the minute buckets), and the
-- workflows that moved to another project (follow_workflows). set_aside: the runs whose flaw is new.
--
-- It skips a workflow that is being deleted (skip locked): waiting for the engine's transaction would
-- block all counting. If the deletion is rolled back, a sweep counts the runs.
create or replace function meshmetrics.count_runs(
  run_ids uuid[],
  out counted integer,
  out changes jsonb,
  out set_aside jsonb
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set plan_cache_mode = force_generic_plan -- planning costs more than counting one run
set enable_seqscan = off -- the plan is made once, often while the tables are empty
as $$
declare
  minutes_from timestamptz;
  quarters_from timestamptz;
  moved uuid[];
  followed jsonb;
  again record;
begin
  perform meshmetrics.counting_lock();

  if exists (select from meshmetrics.retired_runs t where t.run_id = any (run_ids)) then
    perform meshmetrics.restore_retired(run_ids);
  end if;

  select max(k.since) filter (where k.grain = 'minute'), max(k.since) filter (where k.grain = 'quarter')
  into minutes_from, quarters_from
  from meshmetrics.kept_from k;

  with
  present as materialized (
    select s.* from meshmetrics.run_states() s where s.run_id = any (run_ids)
  ),
  flawed as (
    insert into meshmetrics.set_aside_runs as a (run_id, workflow_id, reason, run_updated_at, retry_at)
    select
      p.run_id, p.workflow_id, p.flaw, p.updated_at, clock_timestamp() + meshmetrics.set_aside_pause(1)
    from present p
    where p.flaw is not null
      and not (p.foreign_project and exists (
        select from meshmetrics.counted_runs c where c.run_id = p.run_id and c.workflow_id = p.workflow_id
      ))
    on conflict (run_id) do update
    set reason = excluded.reason,
        run_updated_at = excluded.run_updated_at,
        attempts = a.attempts + 1,
        retry_at = clock_timestamp() + meshmetrics.set_aside_pause(a.attempts + 1)
    returning a.run_id, a.reason, a.attempts
  ),
  sound as (
    delete from meshmetrics.set_aside_runs a
    using present p
    where a.run_id = p.run_id and p.flaw is null
      and (select exists (select from meshmetrics.set_aside_runs)) -- rarely true: evaluated once
  ),
  -- Runs that differ from the ledger. A flawed run is removed from the counters if it was counted, unless
  -- that was before its workflow moved to another project: then it stays counted.
  different as materialized (
    select
      p.run_id, p.workflow_id, p.outcome, p.finished_at,
      l.workflow_id as old_workflow_id, l.outcome as old_outcome, l.finished_at as old_finished_at
    from (
      select
        run_id, workflow_id, finished_at, foreign_project,
        case when flaw is null then outcome end as outcome
      from present
      where known -- runs whose status became unknown stay counted
    ) p
    left join lateral ( -- offset 0: look up each run by index, whatever size the planner assumes
      select c.* from meshmetrics.counted_runs c where c.run_id = p.run_id offset 0
    ) l on true
    where (p.outcome is not null or l.run_id is not null)
      and (p.workflow_id, p.outcome, p.finished_at)
        is distinct from (l.workflow_id, l.outcome, l.finished_at)
      and not (p.foreign_project and l.run_id is not null and l.workflow_id = p.workflow_id)
  ),
  touched as materialized (
    select workflow_id from different where outcome is not null
    union
    select old_workflow_id from different where old_workflow_id is not null
  ),
  existing as materialized (
    select
      m.workflow_id, m.project_id, m.last_success_at, m.last_failure_at,
      m.project_id <> d.project_id as has_moved
    from public.workflow_run_metrics m
    join public.workflow_definitions d on d.id = m.workflow_id
    where m.workflow_id in (select t.workflow_id from touched t)
    for no key update of m skip locked
  ),
  new as materialized (
    select d.id as workflow_id, d.project_id
    from public.workflow_definitions d
    join public.projects p on p.id = d.project_id
    where d.id in (select t.workflow_id from touched t)
      and not exists (select from public.workflow_run_metrics m where m.workflow_id = d.id)
    for key share skip locked
  ),
  -- The workflows whose counters this call may change: their rows are locked now.
  countable as materialized (
    select workflow_id, project_id, last_success_at, last_failure_at from existing where not has_moved
    union all
    select workflow_id, project_id, null, null from new
  ),
  -- The runs to count now. If the previous workflow was deleted, there is nothing to subtract from.
  recounted as materialized (
    select d.*
    from different d
    where (d.outcome is null or d.workflow_id in (select p.workflow_id from countable p))
      and (
        d.old_workflow_id is null
        or d.old_workflow_id in (select p.workflow_id from countable p)
        or not exists (
          select from public.workflow_run_metrics m where m.workflow_id = d.old_workflow_id
        )
      )
  ),
  -- New rows have a statement of their own: checking them for conflicts would double the cost.
  ledger_new as (
    insert into meshmetrics.counted_runs (run_id, workflow_id, finished_at, outcome)
    select t.run_id, t.workflow_id, t.finished_at, t.outcome
    from recounted t
    where t.outcome is not null and t.old_outcome is null
    order by t.run_id
  ),
  ledger_changed as (
    insert into meshmetrics.counted_runs as l (run_id, workflow_id, finished_at, outcome)
    select t.run_id, t.workflow_id, t.finished_at, t.outcome
    from recounted t
    where t.outcome is not null and t.old_outcome is not null
    on conflict (run_id) do update
    set workflow_id = excluded.workflow_id,
        finished_at = excluded.finished_at,
        outcome = excluded.outcome
  ),
  ledger_removed as (
    delete from meshmetrics.counted_runs l
    where l.run_id = any (array(select t.run_id from recounted t where t.outcome is null))
  ),
  -- Signed entries: subtract from the previous workflow and bucket, add to the current one.
  entries as materialized (
    select workflow_id, finished_at, outcome, 1 as n from recounted where outcome is not null
    union all
    select t.old_workflow_id, t.old_finished_at, t.old_outcome, -1
    from recounted t
    where t.old_workflow_id in (select p.workflow_id from countable p)
  ),
  minutes as materialized (
    select
      workflow_id,
      date_trunc('minute', finished_at) as bucket_start,
      coalesce(sum(n) filter (where outcome = 'success'), 0)::integer as success,
      coalesce(sum(n) filter (where outcome = 'failure'), 0)::integer as failure,
      coalesce(sum(n) filter (where outcome = 'canceled'), 0)::integer as canceled
    from entries
    where finished_at >= minutes_from
    group by 1, 2
  ),
  quarters as materialized (
    select
      workflow_id,
      date_bin('15 minutes', finished_at, '2000-01-01 00:00:00+00') as bucket_start,
      coalesce(sum(n) filter (where outcome = 'success'), 0)::integer as success,
      coalesce(sum(n) filter (where outcome = 'failure'), 0)::integer as failure,
      coalesce(sum(n) filter (where outcome = 'canceled'), 0)::integer as canceled
    from entries
    group by 1, 2
  ),
  days as materialized (
    select
      workflow_id,
      date_trunc('day', bucket_start) as bucket_start,
      sum(success)::integer as success,
      sum(failure)::integer as failure,
      sum(canceled)::integer as canceled
    from quarters
    group by 1, 2
  ),
  spans as materialized (
    select p.project_id, g.*
    from (
      select 'minute' as grain, * from minutes
      union all
      select 'quarter', * from quarters where bucket_start >= quarters_from
      union all
      select 'day', * from days
    ) g
    join countable p on p.workflow_id = g.workflow_id
    where (g.success, g.failure, g.canceled) <> (0, 0, 0)
  ),
  buckets as (
    insert into public.workflow_run_buckets as b
      (workflow_id, project_id, grain, bucket_start, success_count, failure_count, canceled_count)
    select s.workflow_id, s.project_id, s.grain, s.bucket_start, s.success, s.failure, s.canceled
    from spans s
    order by s.workflow_id, s.grain, s.bucket_start
    on conflict (workflow_id, grain, bucket_start) do update
    set success_count = b.success_count + excluded.success_count,
        failure_count = b.failure_count + excluded.failure_count,
        canceled_count = b.canceled_count + excluded.canceled_count
  ),
  project_buckets as (
    insert into public.workflow_run_project_buckets as b
      (project_id, grain, bucket_start, success_count, failure_count, canceled_count)
    select s.project_id, s.grain, s.bucket_start, sum(s.success), sum(s.failure), sum(s.canceled)
    from spans s
    group by s.project_id, s.grain, s.bucket_start
    order by s.project_id, s.grain, s.bucket_start
    on conflict (project_id, grain, bucket_start, deleted_workflow_id) do update
    set success_count = b.success_count + excluded.success_count,
        failure_count = b.failure_count + excluded.failure_count,
        canceled_count = b.canceled_count + excluded.canceled_count
  ),
  totals as (
    select
      workflow_id,
      sum(success) as success,
      sum(failure) as failure,
      sum(canceled) as canceled
    from days
    group by 1
  ),
  latest as (
    select
      workflow_id,
      max(finished_at) filter (where outcome = 'success' and n > 0) as success_in,
      max(finished_at) filter (where outcome = 'success' and n < 0) as success_out,
      max(finished_at) filter (where outcome = 'failure' and n > 0) as failure_in,
      max(finished_at) filter (where outcome = 'failure' and n < 0) as failure_out
    from entries
    group by 1
  ),
  changed as (
    insert into public.workflow_run_metrics as m
      (workflow_id, project_id, success_count, failure_count, canceled_count,
       last_success_at, last_failure_at, last_updated, revision)
    select
      p.workflow_id, p.project_id, t.success, t.failure, t.canceled,
      greatest(
        l.success_in,
        case
          when l.success_out >= p.last_success_at then (
            select c.finished_at
            from meshmetrics.counted_runs c
            where c.workflow_id = p.workflow_id and c.outcome = 'success'
              and c.run_id not in (select k.run_id from recounted k)
            order by c.finished_at desc
            limit 1
          )
          else p.last_success_at
        end
      ),
      greatest(
        l.failure_in,
        case
          when l.failure_out >= p.last_failure_at then (
            select c.finished_at
            from meshmetrics.counted_runs c
            where c.workflow_id = p.workflow_id and c.outcome = 'failure'
              and c.run_id not in (select k.run_id from recounted k)
            order by c.finished_at desc
            limit 1
          )
          else p.last_failure_at
        end
      ),
      clock_timestamp(), 1
    from countable p
    join totals t on t.workflow_id = p.workflow_id
    join latest l on l.workflow_id = p.workflow_id
    on conflict (workflow_id) do update
    set success_count = m.success_count + excluded.success_count,
        failure_count = m.failure_count + excluded.failure_count,
        canceled_count = m.canceled_count + excluded.canceled_count,
        last_success_at = excluded.last_success_at,
        last_failure_at = excluded.last_failure_at,
        last_updated = excluded.last_updated,
        revision = m.revision + 1
    returning m.*
  ),
  older as (
    select distinct workflow_id from entries where finished_at < minutes_from
  ),
  deltas as (
    select
      workflow_id,
      jsonb_agg(
        jsonb_build_object(
          'minute', bucket_start, 'success', success, 'failure', failure, 'canceled', canceled
        )
        order by bucket_start
      ) as deltas
    from minutes
    where (success, failure, canceled) <> (0, 0, 0)
    group by 1
  )
  select
    (select count(*) from recounted),
    coalesce(
      (
        select jsonb_agg(
          to_jsonb(c) || jsonb_build_object(
            'slug', d.slug,
            'base_revision', c.revision - 1,
            'deltas', case
              when c.workflow_id not in (select u.workflow_id from older u)
                then coalesce(e.deltas, '[]')
            end
          )
        )
        from changed c
        join public.workflow_definitions d on d.id = c.workflow_id
        left join deltas e on e.workflow_id = c.workflow_id
      ),
      '[]'
    ),
    coalesce(
      (
        select jsonb_agg(jsonb_build_object('run_id', f.run_id, 'reason', f.reason))
        from flawed f
        where f.attempts = 1
      ),
      '[]'
    ),
    (select array_agg(k.workflow_id) from existing k where k.has_moved)
  into counted, changes, set_aside, moved;

  if moved is not null then
    followed := meshmetrics.follow_workflows(moved);
    if followed <> '[]' then -- else another transaction has locked these workflows, and a sweep counts their runs
      select c.* into again from meshmetrics.count_runs(run_ids) c;
      counted := counted + again.counted;
      changes := changes || followed || again.changes;
      set_aside := set_aside || again.set_aside;
    end if;
  end if;
end;
$$;
