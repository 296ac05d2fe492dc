-- Adds the next hour of events to the daily sums, if all of it lies before `p_before`; tells whether it did.
--
-- What is rolled is all that occurred before one moment, the greatest `rolled_until`: a reader takes the sums, and what
-- occurred from that moment on from the events themselves, in one statement. Sums and moment move in one commit, so an
-- hour is in the sums once or not at all. One roller at a time: who does not get the advisory lock returns false.
create function fanfold.usage_roll(p_before timestamptz) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  patience integer := 40;                                          -- waits of 50 ms
  last_hour timestamptz := date_trunc('hour', p_before, 'UTC');
  hour_start timestamptz;
  hour_end timestamptz;
  day_rolled date;
  writers text[];
  rolled bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('fanfold.usage_roll', 0)) then
    return false;
  end if;
  select max(t.rolled_until) into hour_start from fanfold.usage_rolls t;
  if hour_start is null then
    select date_trunc('hour', min(t.occurred_at), 'UTC') into hour_start from fanfold.usage_events t;
    hour_start := least(hour_start, last_hour - interval '1 hour');
  end if;
  hour_end := hour_start + interval '1 hour';
  if hour_end > last_hour then
    return false;
  end if;

  -- An event's time is the start of its transaction, and nothing bounds how long a commit may wait for a disk or a
  -- standby. Who writes events now may have begun in that hour: they have to end before the hour is read.
  select array_agg(l.virtualtransaction) into writers
    from pg_locks l
   where l.locktype = 'relation' and l.relation = 'fanfold.usage_events'::regclass and l.mode = 'RowExclusiveLock'
     and l.database = (select d.oid from pg_database d where d.datname = current_database());
  while exists (select from pg_locks l
                 where l.relation = 'fanfold.usage_events'::regclass and l.mode = 'RowExclusiveLock'
                   and l.virtualtransaction = any (writers)) loop
    patience := patience - 1;
    if patience = 0 then
      return false;
    end if;
    perform pg_sleep(0.05);
  end loop;

  day_rolled := (hour_start at time zone 'UTC')::date;
  insert into fanfold.usage_days as d (
         tenant_id, dimension, day, period_start, member, upstream, meter, rate, outcome, api_key_id,
         units, events, unbilled, counted, quantity, due_units)
  select s.tenant_id, s.dimension, day_rolled, s.period_start,
         case s.dimension when 'upstream' then jsonb_build_array(s.upstream, s.meter, s.rate, s.outcome)::text
                          when 'api_key' then coalesce(s.api_key_id::text, '')
                          else '' end,
         s.upstream, s.meter, s.rate, s.outcome, s.api_key_id,
         s.units, s.events, s.unbilled, s.counted, s.quantity, s.due_units
    from (select t.tenant_id, t.period_start, t.upstream, t.meter, t.rate, t.outcome, t.api_key_id,
                 case when grouping(t.meter) = 0 then 'upstream'
                      when grouping(t.api_key_id) = 0 then 'api_key'
                      else 'day' end as dimension,
                 sum(t.units) as units, count(*) as events, sum(t.quantity) as quantity, sum(t.due_units) as due_units,
                 count(*) filter (where t.outcome = 'unbilled') as unbilled,
                 count(*) filter (where t.is_counted) as counted
            from fanfold.usage_events t
           where t.occurred_at >= hour_start and t.occurred_at < hour_end
           group by grouping sets ((t.tenant_id, t.period_start),
                                   (t.tenant_id, t.period_start, t.upstream, t.meter, t.rate, t.outcome),
                                   (t.tenant_id, t.period_start, t.api_key_id))) s
      on conflict (tenant_id, dimension, day, period_start, member) do update set
         units = d.units + excluded.units, events = d.events + excluded.events,
         unbilled = d.unbilled + excluded.unbilled, counted = d.counted + excluded.counted,
         quantity = d.quantity + excluded.quantity, due_units = d.due_units + excluded.due_units;

  select count(*) into rolled from fanfold.usage_events t where t.occurred_at >= hour_start and t.occurred_at < hour_end;
  insert into fanfold.usage_rolls as r (day, rolled_until, events) values (day_rolled, hour_end, rolled)
      on conflict (day) do update set rolled_until = excluded.rolled_until, events = r.events + excluded.events;
  return true;
end
$function$
