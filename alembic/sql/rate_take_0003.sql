-- Takes tokens of many buckets at once, of each as many as are free and no more than wanted; `p_back` are tokens that
-- were taken and not used. `used` is the bucket's debt in requests: it sinks by `p_rates` a second, never below 0, and a
-- lowered burst cuts it at once. Answers, in the order asked, what was granted and what is free after it, as a fraction.
create function fanfold.rate_take(
    p_keys text[], p_wanted integer[], p_back integer[], p_rates double precision[], p_bursts double precision[],
    out granted integer[], out free double precision[])
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $f$
declare
    item record;
    moment timestamptz;
    bucket record;
begin
    granted := array_fill(0, array[cardinality(p_keys)]);
    free := array_fill(0::double precision, array[cardinality(p_keys)]);
    -- In the order of the keys: two processes that lock the same rows never wait for each other in a circle.
    for item in
        select a.key, least(a.wanted, a.burst)::integer as wanted, a.back, a.rate, a.burst, a.place
          from unnest(p_keys, p_wanted, p_back, p_rates, p_bursts)
               with ordinality as a(key, wanted, back, rate, burst, place)
         order by a.key collate "C"
    loop
        moment := clock_timestamp();
        insert into fanfold.rate_buckets as b (key, used, granted, seen_at, rest_at)
        values (item.key, item.wanted, item.wanted, moment,
                moment + make_interval(secs => least(item.wanted / item.rate, 31536000)))
        on conflict (key) do update set (used, granted, seen_at, rest_at) = (
            select debt.used + taken.granted, taken.granted, greatest(b.seen_at, moment),
                   -- At most a year: a bucket may be so slow that its rest lies beyond all dates.
                   moment + make_interval(secs => least((debt.used + taken.granted) / item.rate, 31536000))
              from (select extract(epoch from moment - b.seen_at)::double precision) as past(seconds),
           lateral (select b.used - item.back - item.rate * greatest(0, past.seconds)) as paid(used),
           lateral (select least(item.burst, greatest(0, paid.used))) as debt(used),
           lateral (select least(item.wanted, floor(item.burst - debt.used + 1e-9))::integer) as taken(granted))
        returning b.used, b.granted into bucket;
        granted[item.place] := bucket.granted;
        free[item.place] := item.burst - bucket.used;
    end loop;
end
$f$
