# bash completion for sipalg: source it, or install it as /usr/share/bash-completion/completions/sipalg

_sipalg() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -*) ;;
            *)
                command=${COMP_WORDS[i]}
                break
                ;;
        esac
    done
    case $before in
        --mode)
            local modes='enforce observe'
            if [[ $command == lab ]]; then modes='none kernel sipalg'; fi
            mapfile -t COMPREPLY < <(compgen -W "$modes" -- "$word")
            return
            ;;
        --show)
            mapfile -t COMPREPLY < <(compgen -W 'changed all none' -- "$word")
            return
            ;;
        --tcp)
            mapfile -t COMPREPLY < <(compgen -W 'relay plain' -- "$word")
            return
            ;;
        --ipv6)
            mapfile -t COMPREPLY < <(compgen -W 'auto no' -- "$word")
            return
            ;;
        --sip-direct-media | --sip-direct-signalling | --media-filter | --disabled)
            mapfile -t COMPREPLY < <(compgen -W 'yes no' -- "$word")
            return
            ;;
        --inside | --outside)
            if [[ $command =~ ^(run|doctor)$ && -d /sys/class/net ]]; then
                mapfile -t COMPREPLY < <(cd /sys/class/net && compgen -W "$(echo *)" -- "$word")
            fi
            return
            ;;
        --only)
            mapfile -t COMPREPLY < <(compgen -W "$(sipalg lab --list 2>/dev/null | cut -d " " -f 1)" -- "$word")
            return
            ;;
        --socket | --config | --captures | --keep | --prefix | --root | --executable | --output)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --public | --ports | --media-ports | --reserved-ports | --sip-timeout | --except | --trusted-peers | --queue | \
            --inside-servers | --call-timeout | --public-ipv6 | --source | --destination | --media-port | --at-once | --listen | --count | \
            --stream)
            return
            ;;
    esac
    if [[ $command == lab && $word != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(sipalg lab --list 2>/dev/null | cut -d " " -f 1)" -- "$word")
        return
    fi
    if [[ ($command == /* || $word == /*) && $command =~ ^(/.*)?$ && $word != -* ]]; then
        # What may come is told by the grammar itself: behind the words so far, or behind the last slash of this one.
        local menus='' words="${COMP_WORDS[*]:1:COMP_CWORD-1}"
        if [[ $word == */* ]]; then menus=${word%/*}/; fi
        mapfile -t COMPREPLY < <(
            compgen -P "$menus" -W "$(sipalg "${words:+$words }$menus ?" 2>/dev/null | cut -d " " -f 1)" -- "${word##*/}"
        )
        return
    fi
    local options='--help'
    case $command in
        /*) options='--now --json --socket --config --help' ;;
        console | script) options='--socket --config --help' ;;
        '')
            options='run config status mappings calls trace metrics / console script sniffer file doctor install-service'
            options+=' explain rewrite diagnose follow compare lab'
            options+=' --help --version'
            ;;
        run)
            options='--inside --outside --public --ports --media-ports --reserved-ports --sip-timeout --except'
            options+=' --trusted-peers --mode --socket --queue --log-edits --allow-offload --config --sip-direct-media'
            options+=' --disabled --inside-servers --sip-direct-signalling --media-filter --call-timeout --tcp --captures'
            options+=' --ipv6 --public-ipv6 --help'
            ;;
        config)
            options='--config --json --help'
            if [[ $word != -* ]]; then options='check show default'; fi
            ;;
        status | mappings) options='--json --socket --help' ;;
        calls)
            options='--device --interactive --call --message --diff --export --svg --html --json --socket --help'
            ;;
        trace) options='--count --json --socket --help' ;;
        metrics) options='--listen --socket --help' ;;
        sniffer)
            options='--json --socket --config --help'
            if [[ $word != -* ]]; then
                options='set print get export start stop save quick reset packet protocol host connection'
            fi
            ;;
        file)
            options='--json --output --socket --config --help'
            if [[ $word != -* ]]; then options='print remove get'; fi
            ;;
        doctor) options='--json --inside --outside --ports --except --config --socket --help' ;;
        install-service) options='--prefix --root --executable --uninstall --dry-run --help' ;;
        explain)
            options='--inside --public --source --destination --media-port --sip-direct-media --raw --diff --json --help'
            ;;
        rewrite)
            options='--inside --public --ports --media-ports --except --sip-direct-media --inside-servers --json --help'
            ;;
        diagnose) options='--inside --ports --sip-timeout --json --help' ;;
        follow) options='--stream --raw --json --help' ;;
        compare) options='--show --json --help' ;;
        lab) options='--only --mode --list --json --keep --at-once --help' ;;
    esac
    if [[ $word != -* && $command =~ ^(trace|explain|rewrite|diagnose|follow|compare|script)$ ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    fi
}

complete -o filenames -F _sipalg sipalg
