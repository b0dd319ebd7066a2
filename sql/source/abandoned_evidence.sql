-- Which of these open runs will not go on, and since when, by what the engine wrote about them:
--
-- step_failed: the newest event of the run is a failed step, and for silent_for nothing followed. A step
-- is tried five times within a minute; after the last one the engine throws and writes nothing more.
-- dead_letter: the run's job was moved to the dead-letter queue, and no event or job came after it.
--
-- A run that is paused waits for a person, and is not abandoned. silent_for 0: no run is. A database
-- without these tables gives no evidence; the statements are dynamic for that reason.
create or replace function meshmetrics.abandoned_evidence(run_ids uuid[], silent_for interval)
returns table (run_id uuid, abandoned_at timestamptz, evidence text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off -- as in count_runs
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  last_event constant text := case
    when to_regclass('public.workflow_events') is null then 'select null::timestamptz, null::text'
    else
      'select e.ts, e.type from public.workflow_events e where e.run_id = r.id'
      ' and e.ts >= r.created_at - interval ''1 day''' -- leaves out the partitions of earlier months
      ' order by e.ts desc, e.id desc limit 1'
  end;
  last_job constant text := case
    when to_regclass('public.job_tracking') is null
      then 'select null::timestamptz, null::timestamptz'
    else
      'select j.moved_to_dlq_at, j.enqueued_at from public.job_tracking j where j.run_id = r.id'
      ' order by j.enqueued_at + interval ''0'' desc limit 1' -- of one run: never by the index on all
  end;
begin
  if silent_for <= interval '0' then
    return;
  end if;
  return query execute
    'select r.id, coalesce(j.dead_at, e.at),'
    ' case when j.dead_at is null then ''step_failed'' else ''dead_letter'' end'
    ' from unnest($1) k (id) join public.workflow_runs r on r.id = k.id'
    ' left join lateral (' || last_event || ') e (at, type) on true'
    ' left join lateral (' || last_job || ') l (dead_at, enqueued_at) on true'
    ' cross join lateral (select case when l.dead_at >= l.enqueued_at'
    '   and (e.at is null or e.at <= l.dead_at) then l.dead_at end) j (dead_at)'
    ' where r.status::text in (select o.status from meshmetrics.status_outcomes o where o.outcome is null)'
    ' and r.status::text <> ''paused'''
    ' and (j.dead_at is not null or (e.type = ''step_failed'' and e.at <= now() - $2))'
    using run_ids, silent_for;
end;
$$;
