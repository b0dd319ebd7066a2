-- The 95 % interval of a rate of which `successes` of `trials` were seen; null for no trials.
--
-- E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of
-- the American Statistical Association 22 (1927), 209-212: without continuity correction,
-- z = 1.959964. Unlike p ± z √(p(1-p)/n) it never leaves 0..1 and is right for few trials.
create or replace function meshmetrics_parts.wilson_interval(
  successes bigint,
  trials bigint,
  out low double precision,
  out high double precision
)
language plpgsql
immutable
set search_path = pg_catalog, public, pg_temp
as $$
declare
  z constant double precision := 1.959964;
  rate double precision;
  center double precision;
  reach double precision;
begin
  if trials > 0 then
    rate := successes::double precision / trials;
    center := (rate + z * z / (2 * trials)) / (1 + z * z / trials);
    reach := z / (1 + z * z / trials) * sqrt(rate * (1 - rate) / trials + z * z / (4.0 * trials * trials));
    -- At 0 and all successes the bound is exactly 0 and 1, which rounding misses.
    low := case when successes = 0 then 0 else greatest(0, center - reach) end;
    high := case when successes = trials then 1 else least(1, center + reach) end;
  end if;
end;
$$;
