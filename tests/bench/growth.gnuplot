# SPDX-License-Identifier: Apache-2.0
# What a key costs as keys become more. `figures` has lines of KEYS <tab> METRIC <tab> VALUE.
set terminal svg size 1200,700 background rgb 'white'
set datafile separator '\t'
set logscale x
set format x '10^{%T}'
set xlabel 'keys'
set yrange [0:*]
set key left bottom
set style data linespoints
of(metric) = sprintf("<awk -F '\\t' '$2 == \"%s\" { print $1 \"\\t\" $3 }' %s", metric, figures)
per_key(metric) = sprintf("<awk -F '\\t' '$2 == \"%s\" { print $1 \"\\t\" $3 * 1e6 / $1 }' %s", metric, figures)
set multiplot layout 2,3
set title 'time of an operation, us'
plot of('put_us') title 'put', of('put_cpu_us') title 'put, CPU', of('get_cpu_us') title 'get, CPU'
set title 'memory beyond the key, bytes'
plot of('memory_bytes_per_key') title 'after filling', of('memory_after_restart_bytes_per_key') title 'after a restart'
set title 'disk of a key of 116 bytes'
plot of('disk_bytes_per_key') title ''
set title 'restart, us per key'
plot per_key('restart_s') title 'wall', per_key('restart_cpu_s') title 'CPU'
set title 'compaction with half dead, us per key'
plot per_key('compaction_s') title 'wall', per_key('compaction_cpu_s') title 'CPU'
set title 'page of 100 keys, CPU us'
plot of('first_page_cpu_us') title 'first', of('last_page_cpu_us') title 'last'
unset multiplot
