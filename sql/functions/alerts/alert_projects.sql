-- The projects to evaluate: those with enabled rules or with states to end, or those that these workflow
-- versions (touched: which of them) belong to. Without those that failed and are not due again.
--
-- pairs: how much there is to evaluate; excess: why that is too much, else null. failures: how often in a row
-- evaluating them failed.
create or replace function meshmetrics.alert_projects(workflow_ids uuid[])
returns table (project_id uuid, pairs bigint, excess text, failures integer, touched uuid[])
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  with changed as (
    select d.project_id, array_agg(d.id) as ids
    from public.workflow_definitions d
    where d.id = any (workflow_ids)
    group by d.project_id
  ),
  ruled as (
    select
      r.project_id,
      count(*) filter (where r.scope = 'workflow' and r.workflow_slug is null) as on_each,
      count(*) filter (where r.scope = 'project' or r.workflow_slug is not null) as on_one
    from public.workflow_alert_rules r
    where r.enabled
      and (workflow_ids is null or r.project_id in (select c.project_id from changed c))
    group by r.project_id
  ),
  found as (
    select r.project_id, r.on_one + r.on_each * w.workflows as pairs, r.on_each, w.workflows
    from ruled r
    cross join lateral (
      select count(*) as workflows
      from (
        select distinct d.slug
        from public.workflow_definitions d
        where r.on_each > 0 and d.project_id = r.project_id
        limit meshmetrics.alert_most_pairs() + 1
      ) s
    ) w
    union all
    select distinct s.project_id, 0, 0, 0
    from public.workflow_alert_states s
    where workflow_ids is null and s.project_id not in (select r.project_id from ruled r)
  )
  select
    f.project_id, f.pairs,
    case when f.pairs > meshmetrics.alert_most_pairs() then
      format(
        'a project may have %s pairs of a rule and a workflow; %s rules on each of %s workflows are more:'
        || ' name the workflow that a rule is for',
        meshmetrics.alert_most_pairs(), f.on_each, f.workflows
      )
    end,
    coalesce(x.failures, 0), c.ids
  from found f
  left join changed c on c.project_id = f.project_id
  left join public.workflow_alert_failures x on x.project_id = f.project_id
  where x.retry_at is null or x.retry_at <= now();
$$;
