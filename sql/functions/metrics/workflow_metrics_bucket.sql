-- The buckets a chart of the period [starts_at, ends_at) is drawn in: the ones asked for, if they
-- are still kept and come to no more than 2,000, or for 'auto' ones that come to some dozens.
create or replace function public.workflow_metrics_bucket(
  starts_at timestamptz,
  ends_at timestamptz,
  wanted text
)
returns text
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
as $$
declare
  most constant integer := 2000;
  names constant text[] := array['minute', 'quarter', 'hour', 'day', 'week'];
  seconds constant integer[] := array[60, 900, 3600, 86400, 604800];
  length constant double precision := extract(epoch from ends_at - starts_at);
  finest constant integer := case
    when starts_at >= public.workflow_metrics_kept('minute') then 1
    when starts_at >= public.workflow_metrics_kept('quarter') then 2
    else 4
  end;
  place integer := array_position(names, wanted);
  fitting text;
begin
  if wanted = 'auto' then
    place := case
      when length <= 3 * 3600 then 1
      when length <= 36 * 3600 then 2
      when length <= 8 * 86400 then 3
      when length <= 200 * 86400 then 4
      else 5
    end;
    place := greatest(place, finest);
  end if;
  if place is null then
    perform public.workflow_metrics_refuse('bucket', wanted, 'auto, ' || array_to_string(names, ', '));
  end if;
  select n.name into fitting
  from unnest(names, seconds) with ordinality n (name, seconds, place)
  where n.place >= finest and length / n.seconds <= most
  order by n.place
  limit 1;
  if fitting is null then
    perform public.workflow_metrics_refuse(
      'from_at', to_json(starts_at) #>> '{}', format('a time at most %s weeks before the end of the period', most)
    );
  end if;
  if place < finest then
    perform public.workflow_metrics_refuse(
      'bucket', wanted,
      format('%s for a period that begins so early: %ss are kept for %s', fitting, names[case place when 3 then 2 else place end],
        case place when 1 then '48 hours' else '400 days' end)
    );
  end if;
  if length / seconds[place] > most then
    perform public.workflow_metrics_refuse(
      'bucket', wanted,
      format('%s for a period this long: a series has at most %s buckets', fitting, most)
    );
  end if;
  return names[place];
end;
$$;
