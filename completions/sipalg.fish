# fish completion for sipalg: put it into ~/.config/fish/completions or /usr/share/fish/vendor_completions.d

complete -c sipalg -f
complete -c sipalg -l help -s h -d 'Help'
complete -c sipalg -n __fish_use_subcommand -l version -d 'Version'

complete -c sipalg -n __fish_use_subcommand -a run -d 'Translate live traffic on this router'
complete -c sipalg -n __fish_use_subcommand -a status -d 'Show what the running ALG does and counts'
complete -c sipalg -n __fish_use_subcommand -a mappings -d 'List the mappings, private to public'
complete -c sipalg -n __fish_use_subcommand -a calls -d 'List the calls with their media'
complete -c sipalg -n __fish_use_subcommand -a metrics -d 'Print or serve the counters for Prometheus'
complete -c sipalg -n __fish_use_subcommand -a doctor -d 'Say what stands in the way of SIP on this router'
complete -c sipalg -n __fish_use_subcommand -a explain -d 'Show what the ALG would do to one message'
complete -c sipalg -n __fish_use_subcommand -a rewrite -d 'Pass a capture through the router and the ALG'
complete -c sipalg -n __fish_use_subcommand -a lab -d 'Phones, router and servers in network namespaces'

set -l run '__fish_seen_subcommand_from run'
complete -c sipalg -n $run -x -l inside -a '(command ls /sys/class/net)' -d 'An interface that phones are behind'
complete -c sipalg -n $run -x -l outside -a '(command ls /sys/class/net)' -d 'The interface towards the provider'
complete -c sipalg -n $run -x -l public -d 'The address to write into messages'
complete -c sipalg -n $run -x -l ports -d 'The SIP ports of the servers'
complete -c sipalg -n $run -x -l media-ports -d 'Where public media ports are taken from'
complete -c sipalg -n $run -x -l reserved-ports -d 'Ports that never become public ones'
complete -c sipalg -n $run -x -l sip-timeout -d 'How long a SIP flow may be silent'
complete -c sipalg -n $run -x -l except -d 'A remote network that is not translated'
complete -c sipalg -n $run -x -l mode -a 'enforce observe' -d 'Change messages, or only look'

complete -c sipalg -n $run -x -l trusted-peers -d 'A remote network that may signal to any phone'
complete -c sipalg -n $run -r -l socket -d 'The control socket'
complete -c sipalg -n $run -x -l queue -d 'The packet queue of the kernel'
complete -c sipalg -n $run -l log-edits -d 'Log a line for each edited message'
complete -c sipalg -n $run -l allow-offload -d 'Start although a flow table carries packets past'

set -l metrics '__fish_seen_subcommand_from metrics'
complete -c sipalg -n $metrics -x -l listen -d 'Serve them over HTTP'
complete -c sipalg -n $metrics -r -l socket -d 'The control socket'

set -l doctor '__fish_seen_subcommand_from doctor'
complete -c sipalg -n $doctor -l json -d 'JSON instead of lines'
complete -c sipalg -n $doctor -x -l inside -a '(command ls /sys/class/net)' -d 'An interface that phones are behind'
complete -c sipalg -n $doctor -x -l outside -a '(command ls /sys/class/net)' -d 'The interface towards the provider'
complete -c sipalg -n $doctor -x -l ports -d 'The SIP ports of the servers'
complete -c sipalg -n $doctor -x -l except -d 'A remote network that is not translated'
complete -c sipalg -n $doctor -r -l socket -d 'The control socket'

set -l lab '__fish_seen_subcommand_from lab'
complete -c sipalg -n $lab -x -l only -a "(sipalg lab --list 2>/dev/null | string replace -r '\s.*' '')" -d 'Scenario'
complete -c sipalg -n $lab -x -a "(sipalg lab --list 2>/dev/null | string replace -r '\s.*' '')" -d 'Scenario'
complete -c sipalg -n $lab -x -l mode -a 'none kernel sipalg' -d 'Only this mode'
complete -c sipalg -n $lab -l list -d 'List the scenarios'
complete -c sipalg -n $lab -l json -d 'JSON'
complete -c sipalg -n $lab -r -l keep -d 'Keep captures and logs'
complete -c sipalg -n $lab -x -l at-once -d 'Labs side by side'

complete -c sipalg -n '__fish_seen_subcommand_from status mappings calls' -l json -d 'JSON instead of a table'
complete -c sipalg -n '__fish_seen_subcommand_from status mappings calls' -r -l socket -d 'The control socket'

set -l offline '__fish_seen_subcommand_from explain rewrite'
complete -c sipalg -n $offline -F
complete -c sipalg -n $offline -x -l inside -d 'The network behind the NAT'
complete -c sipalg -n $offline -x -l public -d 'The public address'
complete -c sipalg -n $offline -l json -d 'JSON'

set -l rewrite '__fish_seen_subcommand_from rewrite'
complete -c sipalg -n $rewrite -x -l ports -d 'The SIP ports of the servers'
complete -c sipalg -n $rewrite -x -l media-ports -d 'Where public media ports are taken from'
complete -c sipalg -n $rewrite -x -l except -d 'A remote network that is not translated'

set -l explain '__fish_seen_subcommand_from explain'
complete -c sipalg -n $explain -x -l source -d 'Where the message comes from'
complete -c sipalg -n $explain -x -l destination -d 'Where the message goes'
complete -c sipalg -n $explain -x -l media-port -d 'The first public media port'
complete -c sipalg -n $explain -l raw -d 'Only the resulting bytes'
complete -c sipalg -n $explain -l diff -d 'Lines before and after'
