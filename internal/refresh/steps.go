package refresh

// Step names a point of a renewal: what was done so far.
type Step string

// The steps, in their order.
const (
	StepBegun     Step = "begun"     // the lease is held and the intent recorded
	StepOpened    Step = "opened"    // the grant lies open in memory
	StepExchanged Step = "exchanged" // the provider has answered, or not
	StepStored    Step = "stored"    // the result is sealed, and its grant stored
	StepSwapped   Step = "swapped"   // the row names it
	StepDropped   Step = "dropped"   // the spent grant is removed
)

// Steps lists them.
var Steps = []Step{StepBegun, StepOpened, StepExchanged, StepStored, StepSwapped, StepDropped}

// reached tells whoever rehearses crashes where a renewal is.
func (s *Service) reached(at Step) {
	if s.AtStep != nil {
		s.AtStep(at)
	}
}
