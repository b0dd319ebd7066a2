-- The buckets a chart of the period [starts_at, ends_at) is drawn in: the ones asked for, if they
-- are still kept and come to no more than 2,000, or for 'auto' ones that come to some dozens.
create or replace function meshmetrics_parts.bucket(
  starts_at timestamptz,
  ends_at timestamptz,
  requested text
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
    when starts_at >= meshmetrics_parts.kept_since('minute') then 1
    when starts_at >= meshmetrics_parts.kept_since('quarter') then 2
    else 4
  end;
  rank integer := array_position(names, requested);
  fitting text;
begin
  if requested = 'auto' then
    rank := case
      when length <= 3 * 3600 then 1
      when length <= 36 * 3600 then 2
      when length <= 8 * 86400 then 3
      when length <= 200 * 86400 then 4
      else 5
    end;
    rank := greatest(rank, finest);
  end if;
  if rank is null then
    perform meshmetrics_parts.refuse_parameter('bucket', requested, 'auto, ' || array_to_string(names, ', '));
  end if;
  select n.name into fitting
  from unnest(names, seconds) with ordinality n (name, seconds, rank)
  where n.rank >= finest and length / n.seconds <= most
  order by n.rank
  limit 1;
  if fitting is null then
    perform meshmetrics_parts.refuse_parameter(
      'from_at', to_json(starts_at) #>> '{}', format('a time at most %s weeks before the end of the period', most)
    );
  end if;
  if rank < finest then
    perform meshmetrics_parts.refuse_parameter(
      'bucket', requested,
      format('%s for a period that begins so early: %ss are kept for %s', fitting, names[case rank when 3 then 2 else rank end],
        case rank when 1 then '48 hours' else '400 days' end)
    );
  end if;
  if length / seconds[rank] > most then
    perform meshmetrics_parts.refuse_parameter(
      'bucket', requested,
      format('%s for a period this long: a series has at most %s buckets', fitting, most)
    );
  end if;
  return names[rank];
end;
$$;
