# U-Boot's script of a box, run from the boot partition: chooses the slot by the boot state (two raw
# copies at 3 MiB, see the contract in the manual), counts a try down, boots. Numbers are hexadecimal.
setenv pb_vars pb_serial pb_order pb_good_a pb_good_b pb_tries_a pb_tries_b
setenv pb_block ${kernel_addr_r}
setenv pb_serial_0
setenv pb_serial_1
${devtype} dev ${devnum}
if ${devtype} read ${pb_block} 0x1800 2 && env import -c ${pb_block} 0x400 ${pb_vars}; then
    setenv pb_serial_0 ${pb_serial}
fi
if ${devtype} read ${pb_block} 0x1880 2 && env import -c ${pb_block} 0x400 ${pb_vars}; then
    setenv pb_serial_1 ${pb_serial}
fi

# The greater serial wins, the other copy is written next.
setenv pb_at
if test -n "${pb_serial_0}"; then
    setenv pb_at 0x1800
    setenv pb_other 0x1880
fi
if test -n "${pb_serial_1}"; then
    if test -z "${pb_serial_0}" || itest ${pb_serial_1} -gt ${pb_serial_0}; then
        setenv pb_at 0x1880
        setenv pb_other 0x1800
    fi
fi
if test -n "${pb_at}"; then
    ${devtype} read ${pb_block} ${pb_at} 2
    env import -c ${pb_block} 0x400 ${pb_vars}
else
    echo "pillarbox: no valid boot state, slot a is tried first"
    setenv pb_other 0x1800
    setenv pb_serial 0
    setenv pb_order a b
    setenv pb_good_a 1
    setenv pb_good_b 0
    setenv pb_tries_a 0
    setenv pb_tries_b 0
fi

# The first slot in order that is good or has tries left.
setenv pb_slot
for slot in ${pb_order}; do
    if test -z "${pb_slot}"; then
        setenv pb_good ${pb_good_a}
        setenv pb_tries ${pb_tries_a}
        if test ${slot} = b; then
            setenv pb_good ${pb_good_b}
            setenv pb_tries ${pb_tries_b}
        fi
        if test "${pb_good}" = 1; then
            setenv pb_slot ${slot}
        elif itest ${pb_tries} -gt 0; then
            setenv pb_slot ${slot}
            setexpr pb_tries ${pb_tries} - 1
            setenv pb_tries_${slot} ${pb_tries}
            setexpr pb_serial ${pb_serial} + 1
            echo "pillarbox: slot ${slot} is on trial, ${pb_tries} more tries"
            if env export -c -s 0x400 ${pb_block} ${pb_vars} && ${devtype} write ${pb_block} ${pb_other} 2; then
                true
            else
                echo "pillarbox: the boot state cannot be written"
            fi
        fi
    fi
done

# The chosen one; then, if it cannot be read, whichever can.
for slot in ${pb_slot} ${pb_order}; do
    setenv pb_part 2
    setenv pb_good ${pb_good_a}
    if test ${slot} = b; then
        setenv pb_part 3
        setenv pb_good ${pb_good_b}
    fi
    setenv pb_trial 1
    if test "${pb_good}" = 1; then
        setenv pb_trial 0
    fi
    setenv bootargs @CMDLINE@ pillarbox.slot=${slot} pillarbox.trial=${pb_trial} pillarbox.board=@BOARD@ panic=10 ro quiet
    if load ${devtype} ${devnum}:${pb_part} ${kernel_addr_r} vmlinuz@LOAD_FDT@ && load ${devtype} ${devnum}:${pb_part} ${ramdisk_addr_r} initrd.img; then
        @BOOT@ ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} @FDT@
    fi
    echo "pillarbox: slot ${slot} does not boot"
done
echo "pillarbox: no slot boots; write the image to the card again"
sleep 10
reset
