-- The incident that this rule would reopen as of a moment: the last that recovered within
-- reopen_within_seconds, with its reopenings of the last 24 hours. It is flapping for as long as there is one.
create or replace function meshmetrics.alert_reopenable(
  rule_id uuid,
  slug text,
  reopen_within_seconds integer,
  as_of timestamptz
)
returns table (id uuid, reopened_at timestamptz[], flapping_since timestamptz)
language sql
stable
rows 1
as $$
  select
    i.id,
    array(
      select t from unnest(i.reopened_at) t where t > as_of - interval '24 hours' order by t
    ),
    case
      when i.reopened_at[cardinality(i.reopened_at)] > as_of - interval '24 hours'
        then i.flapping_since
    end
  from public.workflow_alert_incidents i
  where i.rule_id = alert_reopenable.rule_id and i.workflow_slug = slug
    and md5(i.workflow_slug) = md5(slug) -- as it is indexed
    and i.close_reason = 'recovered'
    and i.closed_at > as_of - make_interval(secs => reopen_within_seconds)
  order by i.closed_at desc
  limit 1
$$;
