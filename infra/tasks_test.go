package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/presets"
)

// TestTaskDefinitions: a container that can write nothing but memory, with few
// capabilities, of the size that its server's preset asks for.
func TestTaskDefinitions(t *testing.T) {
	t.Parallel()
	a := synth(t, shipped)
	ids := a.service.of("AWS::ECS::TaskDefinition")
	if len(ids) != len(a.settings.enabled) {
		t.Fatalf("%d definitions for %d servers", len(ids), len(a.settings.enabled))
	}
	for _, id := range ids {
		r := a.service.Resources[id]
		family := flat(r.at("Family"))
		i := slices.IndexFunc(a.settings.enabled, func(s presets.Server) bool { return family == "lanyard-"+s.Name })
		if i < 0 {
			t.Errorf("%s is nobody's", family)
			continue
		}
		size := a.settings.enabled[i].Server.Resources
		if flat(r.at("Cpu")) != flat(size.CPU*1024) || flat(r.at("Memory")) != flat(float64(size.Memory)) {
			t.Errorf("%s: %v, %v MiB; its preset says %v vCPU, %v MiB", family, r.at("Cpu"), r.at("Memory"), size.CPU, size.Memory)
		}
		if r.at("Volumes") != nil {
			t.Errorf("%s has volumes: %v", family, r.at("Volumes"))
		}
		containers := r.at("ContainerDefinitions").([]any)
		c := resource{Properties: containers[0].(map[string]any)}
		if len(containers) != 1 || c.at("ReadonlyRootFilesystem") != true || c.at("Privileged") == true || c.at("MountPoints") != nil || c.at("User") != nil {
			t.Errorf("%s: %v", family, c.Properties)
		}
		mounts, _ := c.at("LinuxParameters", "Tmpfs").([]any)
		if len(mounts) != 1 {
			t.Fatalf("%s: %v", family, mounts)
		}
		m := resource{Properties: mounts[0].(map[string]any)}
		if m.at("ContainerPath") != "/tmp" || flat(m.at("Size")) != flat(float64(size.Memory/2)) || !strings.Contains(flat(m.at("MountOptions")), "nosuid") {
			t.Errorf("%s: %v", family, m.Properties)
		}
		kept := []string{}
		drop := texts(c.at("LinuxParameters", "Capabilities", "Drop"))
		for _, given := range givenByFargate {
			if !slices.Contains(drop, given) {
				kept = append(kept, given)
			}
		}
		if slices.Sort(kept); flat(toAny(kept)) != "CHOWN DAC_OVERRIDE KILL SETGID SETUID" || c.at("LinuxParameters", "Capabilities", "Add") != nil {
			t.Errorf("%s keeps %v", family, kept)
		}
	}
}

// givenByFargate are the capabilities of a container of which nothing is said:
// Docker's default set.
var givenByFargate = []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}

func toAny(list []string) (out []any) {
	for _, s := range list {
		out = append(out, s)
	}
	return out
}
